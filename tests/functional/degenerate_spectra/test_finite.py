"""Matrices with degenerate spectra through every cell: what comes out, and what is left alone."""

from collections.abc import Iterator
from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.counted import Counted
from tests.functional.degenerate_spectra.cells import (
    FUNCTIONS,
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
)
from tests.functional.degenerate_spectra.families import DTYPES, FAMILIES, N
from tests.properties import spd, with_spectrum

AREA = "degenerate spectra"
BOTH = "sqrtm_and_invsqrtm"
DAMAGES = (torch.nan, torch.inf, -torch.inf)
PLACES = ((2, 0), (0, 0))
# By the smallest eigenvalue, as a part of the largest, the methods that give NaN (decision 0002).
INDEFINITE = {
    **dict.fromkeys(
        (-10.0, -1.0, -0.3, -0.05),
        (*SPECTRAL, "polar_express", "newton_schulz", "pade", "taylor"),
    ),
    -0.011: (*SPECTRAL, "polar_express"),
    -0.009: (),
}

each_cell = pytest.mark.parametrize("cell", [*cells(FUNCTIONS)], ids=str)


@cache
def batches(n: int, times: int = 1) -> dict[torch.dtype, dict[str, Tensor]]:
    """Matrices of every family, again and again."""
    return {
        dtype: {family: make(n, dtype).repeat(times, 1, 1) for family, make in FAMILIES.items()}
        for dtype in DTYPES
    }


def settings(cell: Cell, full: bool) -> Iterator[tuple[int, int]]:
    """Sizes, and how often each matrix is there."""
    yield N, 1
    if full and cell.function == BOTH:
        yield 64, 1
        yield 32, 32  # enough of them for Auto to take the products


@pytest.mark.promise(
    AREA, "{cell.function}: finite, its gradient symmetric, and a regular neighbour left alone"
)
@each_cell
def test_degenerate_matrices(cell: Cell, full: bool, counted: Counted) -> None:
    for n, times in settings(cell, full):
        for dtype, by_family in batches(n, times).items():
            values, gradients = between_regular_ones(cell, torch.cat([*by_family.values()]))
            sizes = [len(A) for A in by_family.values()]
            parts = zip(values.split(sizes), gradients.split(sizes), strict=True)
            for (family, A), (value, gradient) in zip(by_family.items(), parts, strict=True):
                of_value, of_gradient = cell.promises(A)
                with counted(family, dtype, f"n={n}"):
                    assert torch.equal(gradient.nan_to_num(), gradient.mT.nan_to_num())
                    assert finite(value) or not of_value
                    if of_value and of_gradient:
                        assert finite(gradient)
                        counted.figure(gradient.abs().max().item(), "an entry of {} in a gradient")
    if full and cell.function in ROOTS:
        counted.beside = f"finite: {others_are_finite(cell.function)}"


def between_regular_ones(cell: Cell, A: Tensor) -> Result:
    """The result for ``A``, which two more in the batch must not notice, bit by bit."""
    calm = calm_one(A)
    result = attempt(cell.run, torch.cat([calm, A, calm]))
    assert result is not None, "LAPACK gives up"
    undisturbed = alone(cell, len(A), A.shape[-1], A.dtype)
    for part, expected in zip(result, undisturbed, strict=True):
        assert torch.equal(part[0], expected[0])
        assert torch.equal(part[-1], expected[-1])
    return result[0][1:-1], result[1][1:-1]


def calm_one(A: Tensor) -> Tensor:
    return spd(1, n=A.shape[-1], seed=7).to(A.dtype)


@cache
def alone(cell: Cell, others: int, n: int, dtype: torch.dtype) -> Result:
    """What comes out for the regular matrices around as many others."""
    inner = spd(others, n=n, seed=3).to(dtype)
    result = attempt(cell.run, torch.cat([calm_one(inner), inner, calm_one(inner)]))
    assert result is not None
    return result


@cache
def others_are_finite(function: str) -> str:
    inputs = [make(N, dtype) for make, dtype in product(FAMILIES.values(), DTYPES)]
    return elsewhere({function: inputs}, lambda function, A, run: all_finite(attempt(run, A)))


@pytest.mark.promise(AREA, "one entry NaN, ∞ or -∞: NaN all over, value and gradient, and alone")
@each_cell
def test_a_damaged_matrix_is_nan_alone(cell: Cell, full: bool, counted: Counted) -> None:
    damages = [*product(DAMAGES, PLACES)]
    for dtype in DTYPES:
        A = spd(len(damages), n=N).to(dtype)
        for B, (damage, place) in zip(A, damages, strict=True):
            B[place] = damage
        parts = zip(damages, *between_regular_ones(cell, A), strict=True)
        for (damage, place), value, gradient in parts:
            with counted(dtype, damage, place):
                assert value.isnan().all()
                # Autograd sees through eigh the finite matrix that stands in for the damaged one.
                assert cell.through_eigenvectors() or gradient.isnan().all()
    if full and cell.function in ROOTS:
        counted.beside = f"finite beside NaN: {others_stay_finite(cell.function)}"


@cache
def others_stay_finite(function: str) -> str:
    batches = [spd(2, n=N).to(dtype) for dtype in DTYPES]
    for A in batches:
        A[1, 2, 0] = torch.nan

    def first_is_finite(function: str, A: Tensor, run: Run) -> bool:
        result = attempt(run, A)
        return result is not None and finite(result[0][0]) and finite(result[1][0])

    return elsewhere({function: batches}, first_is_finite)


@pytest.mark.promise(AREA, "NaN below -0.01 of the largest eigenvalue, finite above")
@each_cell
def test_an_indefinite_matrix_has_no_root(cell: Cell, full: bool, counted: Counted) -> None:
    for dtype in DTYPES:
        A = torch.cat([indefinite(smallest, dtype) for smallest in INDEFINITE])
        values, _ = between_regular_ones(cell, A)
        for value, (smallest, refusing) in zip(values, INDEFINITE.items(), strict=True):
            with counted(dtype, smallest):
                if cell.method in refusing:
                    assert value.isnan().all()
                elif cell.method in (*SPECTRAL, "polar_express"):
                    assert finite(value)
    if full and cell.function in ROOTS:
        counted.beside = f"NaN at -0.05: {others_say_nan(cell.function)}"


def indefinite(smallest: float, dtype: torch.dtype) -> Tensor:
    values = torch.tensor([smallest, 0.2, 0.4, 0.6, 0.8, 1.0], dtype=torch.float64)
    return with_spectrum(values, 1).to(dtype)


@cache
def others_say_nan(function: str) -> str:
    def says_nan(function: str, A: Tensor, run: Run) -> bool:
        result = attempt(run, A)
        return result is None or bool(result[0].isnan().all())

    return elsewhere({function: [indefinite(-0.05, dtype) for dtype in DTYPES]}, says_nan)


@pytest.mark.parametrize("name", ROOTS)
@pytest.mark.parametrize("method", SPECTRAL)
def test_autograd_at_ties_is_not_finite_as_documented(
    name: str, method: str, counted: Counted
) -> None:
    cell = Cell(name, method, "autograd")
    for values in ([1.0] * 6, [1, 1, 0.5, 0.5, 0.1, 0.1], [1, 0.01, 0.01, 0.01, 0.01, 0.01]):
        result = attempt(cell.run, torch.diag(torch.tensor(values, dtype=torch.float64))[None])
        counted.case(values, held=result is not None and not finite(result[1]))
