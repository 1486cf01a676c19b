"""How a matrix function is computed: the menu of forward methods."""

from covlayers.functional.core import Method
from covlayers.functional.methods.auto import Auto
from covlayers.functional.methods.eigh import Eigh
from covlayers.functional.methods.newton_schulz import NewtonSchulz
from covlayers.functional.methods.pade import Pade
from covlayers.functional.methods.polar_express import PolarExpress
from covlayers.functional.methods.taylor import Taylor

__all__ = [
    "METHODS",
    "Auto",
    "Eigh",
    "NewtonSchulz",
    "Pade",
    "PolarExpress",
    "Taylor",
]

METHODS: dict[str, type[Method]] = {
    "auto": Auto,
    "eigh": Eigh,
    "newton_schulz": NewtonSchulz,
    "pade": Pade,
    "polar_express": PolarExpress,
    "taylor": Taylor,
}
