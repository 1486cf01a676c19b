"""Errors at degenerate spectra, against 50-digit arithmetic, in units of what is promised.

An exact method returns the function of a matrix within rounding of its input, so value and gradient
are off by n ε κ, with the condition number κ (docs/stability.md). The gap rules divide by gaps,
whose rounding adds ε / gap (docs/derivations/gap_rules.md).
"""

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor

from tests.cases import EXACT_METHODS
from tests.properties import weights_like
from tests.reliability.degenerate_spectra.cells import (
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
from tests.reliability.degenerate_spectra.families import FAMILIES, N, regular, subjects
from tests.reliability.degenerate_spectra.fifty_digits import (
    FUNCTIONS,
    exact,
    exact_gradient,
    exact_value,
)
from tests.reliability.rows import Row
from tests.reliability.tally import Tally

EXACT = (*EXACT_METHODS, "eigh, refined")
TIED = (
    "the identity",
    "equal pairs of eigenvalues",
    "two eigenvalues 1e-3 to 1e-12 apart",
    "all eigenvalues equal but one",
)
APART = tuple(family for family in FAMILIES if family not in TIED)
RESOLVED = 0.01
ErrorOf = Callable[[str, Tensor, Run], tuple[float, float]]


def error_rows(area: str, quick: bool) -> Iterator[Row]:
    yield value_row(area)
    yield gradient_row(area, "gradient of exact rules, at ties and near", TIED)
    yield gradient_row(area, "gradient of exact rules, elsewhere", APART)
    yield from gap_rule_rows(area, ("eigh",) if quick else EXACT)


def regular_ones(families: tuple[str, ...]) -> list[tuple[str, Tensor]]:
    return [(name, A) for name, A in subjects(families) if regular(A)]


def value_row(area: str) -> Row:
    tally, families = Tally(), tuple(FAMILIES)
    for name, A in regular_ones(families):
        for function, method in (*product(ROOTS, EXACT), *product(OTHERS, SPECTRAL)):
            if normal(function, A):
                cell = Cell(function, method, "loewner")
                tally.add(f"{cell}, {name}", *value_error(function, A, cell.run))
    return tally.row(
        area, "value of exact methods", "nεκ", beside=elsewhere_within(families, value_error)
    )


def gradient_row(area: str, what: str, families: tuple[str, ...]) -> Row:
    tally = Tally()
    for name, A in regular_ones(families):
        of_roots = product(ROOTS, EXACT, ("loewner", "smith"))
        for function, method, backward in (*of_roots, *product(OTHERS, SPECTRAL, ("loewner",))):
            if normal(function, A):
                cell = Cell(function, method, backward)
                error, bound = gradient_error(function, A, cell.run)
                # In float64 the page on stability allows Smith a hundred times more.
                slack = 100 if backward == "smith" and A.dtype == torch.float64 else 1
                tally.add(f"{cell}, {name}", error, slack * bound)
    promise = "nεκ (Smith in float64: of 100 nεκ)"
    return tally.row(area, what, promise, beside=elsewhere_within(families, gradient_error))


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
    """From the truth: of the value or of the symmetric part of the gradient."""
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


def gap_rule_rows(area: str, methods: tuple[str, ...]) -> Iterator[Row]:
    """Each rule against its own formula, and against a bound where rounding makes the gap."""
    formula, bounded = Tally(), Tally()
    for name, A in regular_ones(tuple(FAMILIES)):
        truth = exact(A)
        noise = rounding(A) / truth.gap
        for function, method, backward in product(ROOTS, methods, GAP_RULES):
            cell = Cell(function, method, backward)
            result = attempt(cell.run, A[None])
            if noise < RESOLVED:
                expected = exact_gradient(A, function, backward)
                error = distance(result, 1, expected) / norm(expected)
                formula.add(f"{cell}, {name}", error, noise + rounding(A) * truth.condition)
            else:
                steepest = abs(float(FUNCTIONS[function][1](truth.values[0])))
                size = distance(result, 1, torch.zeros_like(A))
                bounded.add(f"{cell}, {name}", size, 4 * steepest * norm(weights_like(A)))
    yield formula.row(area, "gradient of gap rules, by their formulas", "nε(κ + 1/gap)")
    yield bounded.row(area, "gradient of gap rules, where rounding parts a tie", "4 |f'| ‖G‖")
