"""What is drawn: matrices, features, methods and rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from covlayers import functional as F
from covlayers.functional.solvers import SOLVERS, SignSolver, SmithSolver
from tests.properties import with_spectrum
from tests.reliability.fuzzing.drawn_settings import Setting

SIZES = (*range(13), 33, 64)

SPECTRA: dict[str, Callable[[Tensor, float], Tensor]] = {
    "spread": lambda i, condition: condition**-i,
    "tied": lambda i, condition: torch.where(i < 0.5, 1.0, 1 / condition),
    "near": lambda i, condition: condition ** -i.round(decimals=1) * (1 + 1e-7 * i),
    "flat": lambda i, condition: torch.ones_like(i),
    "singular": lambda i, condition: (1 - i / 2) * (i < 0.5),
    "zero": lambda i, condition: torch.zeros_like(i),
    "indefinite": lambda i, condition: 1 - 2 * i,
}
"""Eigenvalues, of their places from 0 to 1 and a condition number."""

DEFINITE = ("spread", "tied", "near", "flat")
DEGENERATE = ("singular", "zero")


@dataclass(frozen=True)
class Matrices:
    """Symmetric matrices, a key of ``SPECTRA`` and what it takes."""

    n: int
    spectrum: str
    condition: float
    scale: float
    skew: float

    def of(self, setting: Setting) -> Tensor:
        """``(*, n, n)``, each with another scale, symmetric up to ``skew``."""
        condition = min(self.condition, 10.0) if setting.half else self.condition
        condition = min(condition, 1e4) if setting.dtype == torch.float32 else condition
        places = torch.linspace(0, 1, self.n, dtype=torch.float64)
        values = SPECTRA[self.spectrum](places, condition)
        A = with_spectrum(values, *setting.batch, seed=setting.seed)
        largest = A.abs().amax((-2, -1), keepdim=True) if self.n else 1.0
        noise = setting.normal(self.n, self.n, salt=1).tanh()
        return setting.laid(
            (A + self.skew * largest * (noise - noise.mT)) * setting.scales(self.scale)
        )


def matrices(
    *spectra: str, sizes: Sequence[int] = SIZES, scales: tuple[float, ...] = (1.0, 1e2, 1e4)
) -> st.SearchStrategy[Matrices]:
    """Matrices of any size and condition; a distinct spectrum has a condition number above 1."""
    return st.builds(
        Matrices,
        n=st.sampled_from(sizes),
        spectrum=st.sampled_from(spectra),
        condition=st.sampled_from((3.0, 10.0, 1e2, 1e4, 1e6)),
        scale=st.sampled_from(scales),
        skew=st.sampled_from((0.0, 1e-3)),
    )


@dataclass(frozen=True)
class Features:
    """Correlated features about a mean."""

    channels: int
    positions: int
    mean: float
    scale: float

    def of(self, setting: Setting, salt: int = 0) -> Tensor:
        """``(*, C, M)``."""
        mix = setting.normal(self.channels, self.channels, salt=salt + 2)
        x = setting.normal(self.channels, self.positions, salt=salt + 3)
        scale = setting.scales(self.scale)
        mean = (10.0 if setting.half else self.mean) * setting.normal(self.channels, 1, salt=salt)
        return setting.laid(scale * ((mix + 2 * torch.eye(self.channels)) @ x + mean))


def features(
    sizes: Sequence[int] = SIZES, positions: range = range(2, 21)
) -> st.SearchStrategy[Features]:
    """Features of any number of channels and positions."""
    return st.builds(
        Features,
        channels=st.sampled_from(sizes),
        positions=st.sampled_from(positions),
        mean=st.sampled_from((0.0, 1.0, 1e2)),
        scale=st.sampled_from((1.0, 1e2, 1e4)),
    )


small = st.integers(1, 8)
DIRECT = st.one_of(
    st.sampled_from(("newton_schulz", "pade", "polar_express", "taylor")),
    st.builds(F.NewtonSchulz, st.integers(1, 20)),
    st.builds(F.Taylor, st.integers(1, 20)),
    st.builds(F.Pade, small),
    st.builds(F.PolarExpress, lower=st.sampled_from((1e-3, 1e-2))),
)
SPECTRAL = st.one_of(
    st.sampled_from(("auto", "eigh")),
    st.builds(F.Eigh, refine=st.booleans()),
    st.builds(F.Auto, refine=st.booleans()),
)
GAPS = st.one_of(
    st.sampled_from(sorted(name for name in F.BACKWARDS if "gaps" in name)),
    st.just("power_iteration"),
    st.builds(F.TaylorGaps, st.integers(0, 20)),
    st.builds(F.ClippedGaps, st.floats(1e-6, 1.0)),
    st.builds(F.TruncatedGaps, st.floats(1.0, 1e6)),
    st.builds(F.LorentzianGaps, st.floats(1e-9, 1.0)),
    st.builds(F.PowerIteration, st.integers(0, 20)),
)
RULES = st.one_of(
    st.sampled_from((None, "loewner", "smith")),
    st.sampled_from(("autograd", "lyapunov", "unrolled")),
    GAPS,
    st.builds(F.Lyapunov, small),
    st.builds(F.Smith, doublings=small),
    st.builds(F.Unrolled, st.sampled_from(("pade", "eigh", "taylor"))),
)
OTHER_RULES = st.one_of(
    st.sampled_from((None, "loewner", "autograd", "unrolled", "smith", F.Lyapunov())),
    GAPS,
    st.just(F.Unrolled("eigh")),
)
"""Rules for other functions than the roots, with some that serve none of these."""

LYAPUNOV_SOLVERS = st.one_of(
    st.sampled_from(("auto", *sorted(SOLVERS))),
    st.builds(SignSolver, small),
    st.builds(SmithSolver),
)


def built(menu: dict[str, Any], named: object) -> object:
    """The object that a name stands for."""
    return menu[named]() if isinstance(named, str) else named
