"""Random calls of every public function, and random inputs of every module.

Hypothesis draws shapes, types, memory and options. A call may raise only the typed error that is
documented. It has to return finite values of the documented shape and type, with finite gradients,
equal to a float64 reference by numpy and scipy up to rounding, and equal for a matrix alone and in
its batch. It has to leave what it reads as it was.
"""

from typing import TypeVar

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from covlayers import functional as F
from tests.counted import Counted
from tests.reliability.fuzzing.checks import problem
from tests.reliability.fuzzing.matrix_functions import MATRIX_FUNCTIONS
from tests.reliability.fuzzing.modules import FAMILIES, given_to, problem_of
from tests.reliability.fuzzing.plain import beside
from tests.reliability.fuzzing.spectra import SPECTRA
from tests.reliability.fuzzing.statistics import STATISTICS
from tests.reliability.fuzzing.whitening import WHITENING

FUNCTIONS = MATRIX_FUNCTIONS | SPECTRA | STATISTICS | WHITENING
CALLS, INPUTS, QUICK_SHARE = 400, 160, 16
T = TypeVar("T")


def examples(strategy: st.SearchStrategy[T], number: int) -> list[T]:
    """``number`` draws, the same ones in every run."""
    drawn: list[T] = []

    @settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(example: T) -> None:
        drawn.append(example)

    collect()
    return drawn


def test_every_public_function_is_called() -> None:
    computes_nothing = {"select"}
    assert {name for name in F.__all__ if name.islower()} - computes_nothing <= FUNCTIONS.keys()


@pytest.mark.promise("fuzzing", "random calls of {name}")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_random_calls(name: str, full: bool, counted: Counted) -> None:
    calls = examples(FUNCTIONS[name], CALLS if full else CALLS // QUICK_SHARE)
    shares = [0.0]
    for number, call in enumerate(calls):
        wrong = problem(call, shares)
        counted.case(number, call.drawn, held=not wrong, problem=wrong)
    counted.figure(max(shares), "off by {} of what rounding allows")
    if full:
        counted.beside = beside(calls)


@pytest.mark.promise("fuzzing", "random inputs of {family}")
@pytest.mark.parametrize("family", FAMILIES)
def test_random_inputs(family: str, full: bool, counted: Counted) -> None:
    for number, one in enumerate(
        examples(given_to(family), INPUTS if full else INPUTS // QUICK_SHARE)
    ):
        wrong = problem_of(one)
        counted.case(number, one, held=not wrong, problem=wrong)
