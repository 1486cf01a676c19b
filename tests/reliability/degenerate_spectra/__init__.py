"""Matrices with degenerate spectra through every cell: what comes out, and what is left alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import product

import torch
from torch import Tensor

from tests.properties import spd, with_spectrum
from tests.reliability.degenerate_spectra.cells import (
    OTHERS,
    ROOTS,
    SPECTRAL,
    Cell,
    Result,
    Run,
    all_finite,
    attempt,
    cells,
    elsewhere,
    finite,
    short,
)
from tests.reliability.degenerate_spectra.errors import error_rows
from tests.reliability.degenerate_spectra.families import DTYPES, FAMILIES, N
from tests.reliability.degenerate_spectra.floors import floor_rows
from tests.reliability.degenerate_spectra.vectors import vector_rows
from tests.reliability.rows import Row, row

AREA = "degenerate spectra"
BOTH = "sqrtm_and_invsqrtm"
EVERY = (*ROOTS, BOTH, *OTHERS)
DAMAGE = {"NaN": torch.nan, "∞": torch.inf, "-∞": -torch.inf}
# By the smallest eigenvalue, as a part of the largest, the methods that give NaN (decision 0002).
INDEFINITE = {
    -0.05: (*SPECTRAL, "polar_express", "newton_schulz", "pade", "taylor"),
    -0.011: (*SPECTRAL, "polar_express"),
    -0.009: ("polar_express",),
}


@dataclass
class Seen:
    """What is noticed of every try, by its name."""

    neighbours: dict[str, bool] = field(default_factory=dict)
    symmetric: dict[str, bool] = field(default_factory=dict)


def rows(quick: bool) -> Iterator[Row]:
    seen = Seen()
    for family in FAMILIES:
        yield family_row(family, quick, seen)
    yield damaged_row(quick, seen)
    yield indefinite_row(quick, seen)
    beside = f"finite beside NaN: {elsewhere(damaged(), first_is_finite)}"
    same = "neighbours of all these: the same value and gradient, bit by bit"
    yield row(AREA, same, seen.neighbours, beside=beside)
    yield row(AREA, "gradients of all these: symmetric, bit by bit", seen.symmetric)
    yield from error_rows(AREA, quick)
    yield from floor_rows(AREA)
    yield from vector_rows(AREA)


def batches(family: str, quick: bool) -> Iterator[tuple[Tensor, tuple[Cell, ...]]]:
    """Matrices of the family, and the cells that they go through."""
    make, joint = FAMILIES[family], tuple(cells([BOTH]))
    for dtype in DTYPES:
        yield make(N, dtype), some(quick)
        if not quick:
            yield make(64, dtype), joint
    if not quick:  # enough of them for Auto to take the products
        many = make(32, torch.float32)
        many = many.repeat(64 // len(many), 1, 1)
        yield many, tuple(cell for cell in joint if cell.method == "auto")


def some(quick: bool) -> tuple[Cell, ...]:
    """All cells, or those of both roots at once and of the logarithm."""
    return tuple(cells((BOTH, "logm") if quick else EVERY))


def family_row(family: str, quick: bool, seen: Seen) -> Row:
    """Finite value and gradient, as far as promised."""
    outcomes, largest = {}, 0.0
    for A, through in batches(family, quick):
        for cell in through:
            of_value, of_gradient = cell.promises(A)
            name = f"{cell}, {short(A)}"
            result = beside_a_regular_one(cell, A, f"{name}, {family}", seen)
            if of_value:
                outcomes[name] = all_finite(result) if of_gradient else value_is_finite(result)
            if result is not None and of_gradient:
                largest = max(largest, result[1].abs().max().item())
    inputs = [FAMILIES[family](N, dtype) for dtype in DTYPES]
    return row(
        AREA,
        f"finite value and gradient: {family}",
        outcomes,
        worst=f"an entry of {largest:.0e} in a gradient",
        beside=f"finite: {elsewhere(dict.fromkeys(ROOTS, inputs), finite_elsewhere)}",
    )


def value_is_finite(result: Result | None) -> bool:
    return result is not None and finite(result[0])


def finite_elsewhere(function: str, A: Tensor, run: Run) -> bool:
    return all_finite(attempt(run, A))


def beside_a_regular_one(cell: Cell, A: Tensor, name: str, seen: Seen) -> Result | None:
    """The result for ``A``, of which a matrix before it in the batch must not notice."""
    result = attempt(cell.run, torch.cat([calm_one(A), A]))
    if result is None:
        seen.neighbours[name] = False
        return None
    value, gradient = result
    old_value, old_gradient = undisturbed(cell, len(A), A.shape[-1], A.dtype)
    same = torch.equal(value[0], old_value) and torch.equal(gradient[0], old_gradient)
    seen.neighbours[name] = same
    seen.symmetric[name] = torch.equal(gradient.nan_to_num(), gradient.mT.nan_to_num())
    return value[1:], gradient[1:]


def calm_one(A: Tensor) -> Tensor:
    return spd(1, n=A.shape[-1], seed=7).to(A.dtype)


@cache
def undisturbed(cell: Cell, others: int, n: int, dtype: torch.dtype) -> Result:
    """What comes out for the regular matrix before as many others."""
    calm = spd(others, n=n, seed=3).to(dtype)
    result = attempt(cell.run, torch.cat([calm_one(calm), calm]))
    assert result is not None
    return result[0][0], result[1][0]


def damaged_row(quick: bool, seen: Seen) -> Row:
    """NaN in, NaN out."""
    outcomes = {}
    for dtype, (what, damage) in product(DTYPES, [*DAMAGE.items()][: 1 if quick else None]):
        A = spd(1, n=N).to(dtype)
        A[0, 2, 0] = damage
        for cell in some(quick):
            name = f"{cell}, {short(A)}, an entry of {what}"
            result = beside_a_regular_one(cell, A, name, seen)
            parts = () if result is None else result[: 1 if cell.through_eigenvectors() else 2]
            outcomes[name] = len(parts) > 0 and all(bool(part.isnan().all()) for part in parts)
    return row(AREA, "all NaN, value and gradient: one entry NaN, ∞ or -∞", outcomes)


def damaged() -> dict[str, list[Tensor]]:
    batches = [spd(2, n=N).to(dtype) for dtype in DTYPES]
    for A in batches:
        A[1, 2, 0] = torch.nan
    return dict.fromkeys(ROOTS, batches)


def first_is_finite(function: str, A: Tensor, run: Run) -> bool:
    result = attempt(run, A)
    return result is not None and finite(result[0][0]) and finite(result[1][0])


def indefinite_row(quick: bool, seen: Seen) -> Row:
    """NaN for a matrix without a real root, and a finite root where rounding explains the sign."""
    outcomes = {}
    for dtype, (smallest, refusing) in product(DTYPES, INDEFINITE.items()):
        A = indefinite(smallest, dtype)
        for cell in some(quick):
            name = f"{cell}, {short(A)}, {smallest} of the largest"
            result = beside_a_regular_one(cell, A, name, seen)
            if cell.method in refusing:
                outcomes[name] = result is not None and bool(result[0].isnan().all())
            elif cell.method in SPECTRAL:
                outcomes[name] = value_is_finite(result)
    inputs = [indefinite(-0.05, dtype) for dtype in DTYPES]
    return row(
        AREA,
        "NaN below -0.01 of the largest eigenvalue, finite above",
        outcomes,
        beside=f"NaN at -0.05: {elsewhere(dict.fromkeys(ROOTS, inputs), says_nan)}",
    )


def indefinite(smallest: float, dtype: torch.dtype) -> Tensor:
    values = torch.tensor([smallest, 0.2, 0.4, 0.6, 0.8, 1.0], dtype=torch.float64)
    return with_spectrum(values, 1).to(dtype)


def says_nan(function: str, A: Tensor, run: Run) -> bool:
    result = attempt(run, A)
    return result is None or bool(result[0].isnan().all())
