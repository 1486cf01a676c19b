"""Errors at degenerate spectra, against 50-digit arithmetic, in units of what is promised.

An exact method returns the function of a matrix within rounding of its input, so value and gradient
are off by n ε κ, with the condition number κ (docs/stability.md). The gap rules divide by gaps,
whose rounding adds ε / gap (docs/derivations/gap_rules.md).
"""

import math
from collections.abc import Callable
from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor

from tests.cases import EXACT_METHODS
from tests.counted import Counted
from tests.functional.degenerate_spectra.cells import (
    GAP_RULES,
    OTHERS,
    ROOTS,
    SPECTRAL,
    Cell,
    Result,
    Run,
    attempt,
    elsewhere,
)
from tests.functional.degenerate_spectra.families import FAMILIES, N, regular, subjects
from tests.functional.degenerate_spectra.fifty_digits import (
    FUNCTIONS,
    exact,
    exact_gradient,
    exact_value,
)
from tests.properties import weights_like

AREA = "degenerate spectra"
EXACT = (*EXACT_METHODS, "eigh, refined")
TIED = (
    "the identity",
    "equal pairs of eigenvalues",
    "two eigenvalues 1e-3 to 1e-12 apart",
    "all eigenvalues equal but one",
)
FAMILIES_WHERE = {
    "at ties and near": TIED,
    "elsewhere": tuple(family for family in FAMILIES if family not in TIED),
}
RESOLVED = 0.01
ErrorOf = Callable[[str, Tensor, Run], tuple[float, float]]


@cache
def regular_ones(families: tuple[str, ...]) -> list[tuple[str, Tensor]]:
    return [(name, A) for name, A in subjects(families) if regular(A)]


@pytest.mark.promise(AREA, "value of exact methods")
@pytest.mark.parametrize(
    ("function", "method"), [*product(ROOTS, EXACT), *product(OTHERS, SPECTRAL)]
)
def test_value(function: str, method: str, full: bool, counted: Counted) -> None:
    cell = Cell(function, method, "loewner")
    for name, A in regular_ones(tuple(FAMILIES)):
        if normal(function, A):
            error, bound = value_error(function, A, cell.run)
            counted.within(name, error=error, bound=bound, of="nεκ")
    if full:
        counted.beside = elsewhere_within(tuple(FAMILIES), value_error)


@pytest.mark.promise(AREA, "gradient of exact rules, {where}")
@pytest.mark.parametrize(
    ("function", "method", "backward"),
    [
        *product(ROOTS, EXACT, ("loewner", "smith")),
        *product(OTHERS, SPECTRAL, ("loewner",)),
    ],
)
@pytest.mark.parametrize("where", FAMILIES_WHERE)
def test_gradient(
    function: str, method: str, backward: str, where: str, full: bool, counted: Counted
) -> None:
    cell, families = Cell(function, method, backward), FAMILIES_WHERE[where]
    for name, A in regular_ones(families):
        if normal(function, A):
            error, bound = gradient_error(function, A, cell.run)
            # In float64 the page on stability allows Smith a hundred times more.
            slack = 100 if backward == "smith" and A.dtype == torch.float64 else 1
            of = "nεκ (Smith in float64: of 100 nεκ)"
            counted.within(name, error=error, bound=slack * bound, of=of)
    if full:
        counted.beside = elsewhere_within(families, gradient_error)


@cache
def elsewhere_within(families: tuple[str, ...], error_of: ErrorOf) -> str:
    def within(function: str, A: Tensor, run: Run) -> bool:
        error, bound = error_of(function, A, run)
        return error <= bound

    inputs = [A for _, A in regular_ones(families)]
    return f"within nεκ: {elsewhere(dict.fromkeys(ROOTS, inputs), within)}"


def value_error(function: str, A: Tensor, run: Run) -> tuple[float, float]:
    """Relative error and its bound; the logarithm of the identity, zero, counts as one."""
    truth = exact_value(A, function)
    size = max(norm(truth), N**0.5) if function == "logm" else norm(truth)
    return distance(attempt(run, A[None]), 0, truth) / size, rounding(A) * exact(A).condition


def gradient_error(function: str, A: Tensor, run: Run) -> tuple[float, float]:
    """Relative error and its bound."""
    truth = exact_gradient(A, function)
    error = distance(attempt(run, A[None]), 1, truth) / norm(truth)
    return error, rounding(A) * exact(A).condition


def distance(result: Result | None, part: int, truth: Tensor) -> float:
    """The distance of the value, or of the symmetric part of the gradient, from the truth."""
    if result is None:
        return math.nan
    X = result[part].reshape(truth.shape).double()
    return norm((X + X.mT) / 2 - truth)


def norm(X: Tensor) -> float:
    return torch.linalg.matrix_norm(X.double()).item()


def rounding(A: Tensor) -> float:
    return N * torch.finfo(A.dtype).eps


def normal(function: str, A: Tensor) -> bool:
    """Whether function and slope are normal numbers of this dtype at both ends of the spectrum."""
    finfo, values = torch.finfo(A.dtype), exact(A).values
    ends = [abs(f(values[i])) for f in FUNCTIONS[function] for i in (0, N - 1)]
    return all(end == 0 or finfo.tiny / finfo.eps < end < finfo.max / N**2 for end in ends)


@pytest.mark.promise(AREA, "gradient of gap rules, by their formulas")
@pytest.mark.parametrize(("function", "rule"), [*product(ROOTS, GAP_RULES)])
def test_gap_rules(function: str, rule: str, full: bool, counted: Counted) -> None:
    for (name, A), method in product(resolved(True), EXACT if full else ("eigh",)):
        truth = exact(A)
        noise = rounding(A) / truth.gap
        expected = exact_gradient(A, function, rule)
        error = distance(attempt(Cell(function, method, rule).run, A[None]), 1, expected)
        bound = (noise + rounding(A) * truth.condition) * norm(expected)
        counted.within(method, name, error=error, bound=bound, of="nε(κ + 1/gap)")


@pytest.mark.promise(AREA, "gradient of gap rules, where rounding parts a tie")
@pytest.mark.parametrize(("function", "rule"), [*product(ROOTS, GAP_RULES)])
def test_gap_rules_at_ties(function: str, rule: str, full: bool, counted: Counted) -> None:
    for (name, A), method in product(resolved(False), EXACT if full else ("eigh",)):
        steepest = abs(float(FUNCTIONS[function][1](exact(A).values[0])))
        result = attempt(Cell(function, method, rule).run, A[None])
        size = distance(result, 1, torch.zeros_like(A))
        bound = 4 * steepest * norm(weights_like(A))
        counted.within(method, name, error=size, bound=bound, of="4 |f'| ‖G‖")


def resolved(right: bool) -> list[tuple[str, Tensor]]:
    """Matrices whose gaps rounding leaves, or does not."""
    return [
        (name, A)
        for name, A in regular_ones(tuple(FAMILIES))
        if (rounding(A) / exact(A).gap < RESOLVED) == right
    ]
