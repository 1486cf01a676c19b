"""What a method makes of an eigenvalue of zero: its documented floor (docs/choosing.md)."""

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from tests.reliability.degenerate_spectra.cells import Cell, attempt
from tests.reliability.degenerate_spectra.errors import EXACT
from tests.reliability.degenerate_spectra.families import FAMILIES, regular, subjects
from tests.reliability.degenerate_spectra.fifty_digits import exact_value
from tests.reliability.rows import Row
from tests.reliability.tally import Tally

ROUNDED = 1.01  # the docs have three digits
Norm = Callable[[Tensor], Tensor]


def square(A: Tensor) -> Tensor:
    """The norm that PolarExpress divides by."""
    return torch.linalg.matrix_norm(A @ A).sqrt()


# Of each method the norm that it divides by, the gain of its inverse root and the floor of its
# root, in float32, in units of the norm's inverse root and root.
FLOORS: dict[str, tuple[Norm, float, float | None]] = {
    "eigh": (lambda A: torch.linalg.matrix_norm(A, 2), 2896.0, 2896**-1),
    "polar_express": (square, 3094.0, None),
    "newton_schulz": (torch.trace, 1.5**5, 0.0),
    "pade": (torch.linalg.matrix_norm, 11.0, 1 / 11),
    "taylor": (torch.linalg.matrix_norm, 3.70, 0.176),
}


def floor_rows(area: str) -> Iterator[Row]:
    singular = [(name, A) for name, A in subjects(tuple(FAMILIES)) if not regular(A)]
    yield root_row(area, singular)
    yield gain_row(
        area, [(name, A) for name, A in singular if A.any() and A.dtype == torch.float32]
    )


def root_row(area: str, singular: list[tuple[str, Tensor]]) -> Row:
    """Off by the root of the rounding noise."""
    tally = Tally()
    for (name, A), method in product(singular, EXACT):
        finfo = torch.finfo(A.dtype)
        noise = 4 * (finfo.eps * square(A.double())) ** 0.5
        of_zero = 2 * finfo.tiny ** (3 / 16)  # a zero matrix is read as one of tiny^(3/8)
        error = value("sqrtm", method, A) - exact_value(A, "sqrtm")
        tally.add(f"{method}, {name}", gain(error), max(noise.item(), of_zero))
    return tally.row(area, "root of singular matrices, by exact methods", "4 (ε ‖A²‖^½)^½")


def gain_row(area: str, singular: list[tuple[str, Tensor]]) -> Row:
    """No gain above the documented one, and the documented root of an eigenvalue of zero."""
    tally = Tally()
    for (name, A), (method, (norm, largest, floor)) in product(singular, FLOORS.items()):
        if method == "polar_express" and below_zero(A):
            continue  # the docs have its gain at zero, and none between that and NaN
        scale = norm(A.double()).sqrt().item()
        inverse = value("invsqrtm", method, A)
        tally.add(f"gain, {method}, {name}", gain(inverse), ROUNDED * largest / scale)
        if floor is not None and name.startswith("rank one"):
            direction = torch.linalg.eigh(A.double())[1][:, 0]
            root = direction @ value("sqrtm", method, A) @ direction / scale
            tally.add(f"root, {method}, {name}", abs(root.item() - floor), 0.01 * floor + 1e-6)
    return tally.row(area, "singular matrices: documented floors of the methods", "its floor")


def below_zero(A: Tensor) -> bool:
    """By more than a hundredth of a rounding."""
    values = torch.linalg.eigvalsh(A.double())
    return bool(values[0] < -0.01 * torch.finfo(A.dtype).eps * values[-1])


def value(function: str, method: str, A: Tensor) -> Tensor:
    rule = "loewner" if method in EXACT else "lyapunov"
    result = attempt(Cell(function, method, rule).run, A[None])
    return torch.full_like(A, torch.nan) if result is None else result[0].squeeze().double()


def gain(X: Tensor) -> float:
    """The spectral norm; LAPACK would raise for NaN."""
    return torch.linalg.matrix_norm(X, 2).item() if X.isfinite().all() else math.nan
