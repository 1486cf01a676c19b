"""What a method makes of an eigenvalue of zero: its documented floor (docs/choosing.md)."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.counted import Counted
from tests.functional.degenerate_spectra.cells import Cell, attempt
from tests.functional.degenerate_spectra.families import FAMILIES, regular, subjects
from tests.functional.degenerate_spectra.fifty_digits import exact_value
from tests.functional.degenerate_spectra.test_errors import AREA, EXACT

ROUNDED = 1.01  # the docs have three digits
Norm = Callable[[Tensor], Tensor]


def square(A: Tensor) -> Tensor:
    """The norm that PolarExpress divides by."""
    return torch.linalg.matrix_norm(A @ A).sqrt()


# Of each method the norm that it divides by, the gain of its inverse root and the floor of its
# root, in float32, in units of the norm's inverse root and root.
FLOORS: dict[str, tuple[Norm, float, float | None]] = {
    "eigh": (lambda A: torch.linalg.matrix_norm(A, 2), 2896.0, 0.0),
    "polar_express": (square, 3094.0, None),
    "newton_schulz": (torch.trace, 1.5**5, 0.0),
    "pade": (torch.linalg.matrix_norm, 11.0, 1 / 11),
    "taylor": (torch.linalg.matrix_norm, 3.70, 0.176),
}


def singular() -> list[tuple[str, Tensor]]:
    return [(name, A) for name, A in subjects(tuple(FAMILIES)) if not regular(A)]


@pytest.mark.promise(AREA, "root of singular matrices, by exact methods")
@pytest.mark.parametrize("method", EXACT)
def test_root(method: str, counted: Counted) -> None:
    """Off by the root of the rounding noise."""
    for name, A in singular():
        finfo = torch.finfo(A.dtype)
        noise = 4 * (finfo.eps * square(A.double())) ** 0.5
        of_zero = 2 * finfo.tiny ** (3 / 16)  # a zero matrix is read as one of tiny^(3/8)
        error = gain(value("sqrtm", method, A) - exact_value(A, "sqrtm"))
        bound = max(noise.item(), of_zero)
        counted.within(name, error=error, bound=bound, of="4 (ε ‖A²‖^½)^½")


@pytest.mark.promise(AREA, "singular matrices: documented floors of the methods")
@pytest.mark.parametrize("method", FLOORS)
def test_floors(method: str, counted: Counted) -> None:
    """No gain above the documented one, and the documented root of an eigenvalue of zero."""
    norm, largest, floor = FLOORS[method]
    for name, A in singular():
        if not A.any() or A.dtype != torch.float32:
            continue
        if method == "polar_express" and below_zero(A):
            continue  # the docs have its gain at zero, and none between that and NaN
        scale = norm(A.double()).sqrt().item()
        inverse, bound = value("invsqrtm", method, A), ROUNDED * largest / scale
        counted.within("gain", name, error=gain(inverse), bound=bound, of="its floor")
        if floor is not None and name.startswith("rank one"):
            direction = torch.linalg.eigh(A.double())[1][:, 0]
            root = direction @ value("sqrtm", method, A) @ direction / scale
            error, bound = abs(root.item() - floor), 0.01 * floor + 1e-6
            counted.within("root", name, error=error, bound=bound, of="its floor")


def below_zero(A: Tensor) -> bool:
    """Whether an eigenvalue is negative by more than a hundredth of a rounding."""
    values = torch.linalg.eigvalsh(A.double())
    return bool(values[0] < -0.01 * torch.finfo(A.dtype).eps * values[-1])


def value(function: str, method: str, A: Tensor) -> Tensor:
    rule = "loewner" if method in EXACT else "lyapunov"
    result = attempt(Cell(function, method, rule).run, A[None])
    return torch.full_like(A, torch.nan) if result is None else result[0].squeeze().double()


def gain(X: Tensor) -> float:
    """The spectral norm; LAPACK would raise for NaN."""
    return torch.linalg.matrix_norm(X, 2).item() if X.isfinite().all() else math.nan
