"""How a matrix function is differentiated: the menu of backward rules."""

from collections.abc import Callable

from covlayers.functional.backwards.autograd import Autograd
from covlayers.functional.backwards.gaps import (
    ClippedGaps,
    ExactGaps,
    LorentzianGaps,
    PadeGaps,
    TaylorGaps,
    TruncatedGaps,
)
from covlayers.functional.backwards.loewner import Loewner
from covlayers.functional.backwards.lyapunov import Lyapunov
from covlayers.functional.backwards.power_iteration import PowerIteration
from covlayers.functional.backwards.smith import Smith
from covlayers.functional.backwards.unrolled import Unrolled
from covlayers.functional.rule import Backward

__all__ = [
    "BACKWARDS",
    "Autograd",
    "ClippedGaps",
    "ExactGaps",
    "Loewner",
    "LorentzianGaps",
    "Lyapunov",
    "PadeGaps",
    "PowerIteration",
    "Smith",
    "TaylorGaps",
    "TruncatedGaps",
    "Unrolled",
]

BACKWARDS: dict[str, Callable[[], Backward]] = {
    "autograd": Autograd,
    "clipped_gaps": ClippedGaps,
    "exact_gaps": ExactGaps,
    "loewner": Loewner,
    "lorentzian_gaps": LorentzianGaps,
    "lyapunov": Lyapunov,
    "pade_gaps": PadeGaps,
    "power_iteration": PowerIteration,
    "smith": Smith,
    "taylor_gaps": TaylorGaps,
    "truncated_gaps": TruncatedGaps,
    "unrolled": Unrolled,
}
