"""Spectra that no textbook has, and what can be known of them beforehand."""

from collections.abc import Callable
from functools import cache, partial
from itertools import product

import torch
from torch import Tensor

from covlayers import functional as F
from tests.properties import spd, with_spectrum

Make = Callable[[int, torch.dtype], Tensor]
DTYPES = (torch.float32, torch.float64)
GAPS = (1e-3, 1e-6, 1e-9, 1e-12)
N = 6


def spectra(values: Callable[[int, float], Tensor], n: int, dtype: torch.dtype) -> Tensor:
    """Two rotations of one spectrum, which may depend on the size and on the precision."""
    return with_spectrum(values(n, torch.finfo(dtype).eps).double(), 2).to(dtype)


def near_ties(n: int, dtype: torch.dtype) -> Tensor:
    """A pair at each gap, and all other eigenvalues apart."""
    rest = torch.logspace(-1, -2, n - 2, dtype=torch.float64)
    pairs = (torch.cat([torch.tensor([1, 1 - gap], dtype=torch.float64), rest]) for gap in GAPS)
    return torch.stack([with_spectrum(values) for values in pairs]).to(dtype)


def pairs(n: int, dtype: torch.dtype) -> Tensor:
    """Exact ties of a diagonal matrix, and the same rotated, which rounding parts."""
    values = torch.logspace(0, -1, n // 2, dtype=torch.float64).repeat_interleave(2)
    return torch.stack([values.diag(), with_spectrum(values)]).to(dtype)


def covariances(n: int, dtype: torch.dtype, *, samples: float, spoil: str = "") -> Tensor:
    """Covariances of features; one channel may be constant or a copy of its neighbour."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, n, int(samples * n), generator=generator, dtype=torch.float64)
    if spoil:
        x[:, 0] = 3.0 if spoil == "constant" else x[:, 1]
    return F.covariance(x.to(dtype))


def half_rank(n: int, eps: float) -> Tensor:
    return torch.linspace(-1, 1, n).clamp_min(0)


FAMILIES: dict[str, Make] = {
    "the identity": lambda n, dtype: torch.eye(n, dtype=dtype).repeat(2, 1, 1),
    "equal pairs of eigenvalues": pairs,
    "two eigenvalues 1e-3 to 1e-12 apart": near_ties,
    "all eigenvalues equal but one": partial(
        spectra, lambda n, eps: torch.where(torch.arange(n) > 0, 1e-3, 1.0)
    ),
    "condition number 1e12": lambda n, dtype: spd(2, n=n, condition=1e12).to(dtype),
    "entries of 1e-20": lambda n, dtype: (1e-20 * spd(2, n=n, condition=10.0)).to(dtype),
    "entries of 1e20": lambda n, dtype: (1e20 * spd(2, n=n, condition=10.0)).to(dtype),
    "zero": lambda n, dtype: torch.zeros(2, n, n, dtype=dtype),
    "rank one": lambda n, dtype: torch.ones(2, n, n, dtype=dtype) / n,
    "half the rank": partial(spectra, half_rank),
    "half the rank, entries of 1e-20": partial(
        spectra, lambda n, eps: 1e-20 * half_rank(n, eps).double()
    ),
    "an eigenvalue of -ε/2": partial(
        spectra, lambda n, eps: torch.linspace(1, -eps / 2, n, dtype=torch.float64)
    ),
    "a constant channel": partial(covariances, samples=4, spoil="constant"),
    "a channel twice": partial(covariances, samples=4, spoil="copy"),
    "half as many samples as channels": partial(covariances, samples=0.5),
}


@cache
def subjects(families: tuple[str, ...]) -> list[tuple[str, Tensor]]:
    """Each matrix of these families by itself, with a name."""
    return [
        (f"{family}, {index}, {str(dtype)[6:]}", A)
        for family, dtype in product(families, DTYPES)
        for index, A in enumerate(FAMILIES[family](N, dtype))
    ]


def raised(A: Tensor) -> Tensor:
    """The eigenvalues that replace the eigenvalues of ``A``, in float64: decision 0002."""
    finfo = torch.finfo(A.dtype)
    values = torch.linalg.eigvalsh(A.double())
    floor = finfo.eps * values[..., -1:]
    return torch.maximum(values, torch.where(floor > 0, floor, finfo.tiny**0.375))


def distinct(A: Tensor) -> bool:
    """Whether rounding leaves all eigenvalues apart."""
    values = raised(A)
    noise = 16 * A.shape[-1] * torch.finfo(A.dtype).eps * values[..., -1:]
    return bool((values.diff() > noise).all())


def regular(A: Tensor) -> bool:
    """Whether rounding leaves digits of every eigenvalue, so that there is a truth."""
    values = torch.linalg.eigvalsh(A.double())
    noise = 100 * A.shape[-1] * torch.finfo(A.dtype).eps * values[..., -1]
    return bool((values[..., 0] > noise).all())
