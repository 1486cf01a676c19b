"""Random calls of every public function, and random inputs of every module.

Hypothesis draws shapes, types, memory and options. A call has to raise nothing but the typed error
that is documented, and to return finite values of the documented shape and type, equal to a float64
reference by numpy and scipy up to rounding, the same for a matrix alone as in its batch, with
gradients as finite; it has to leave what it reads as it was.
"""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from covlayers import functional as F
from tests.reliability.fuzzing.calls import Call
from tests.reliability.fuzzing.checks import Worst, problem
from tests.reliability.fuzzing.drawn_settings import DTYPES
from tests.reliability.fuzzing.matrix_functions import MATRIX_FUNCTIONS
from tests.reliability.fuzzing.modules import FAMILIES, given_to, problem_of
from tests.reliability.fuzzing.plain import beside
from tests.reliability.fuzzing.spectra import SPECTRA
from tests.reliability.fuzzing.statistics import STATISTICS
from tests.reliability.fuzzing.whitening import WHITENING
from tests.reliability.rows import Row, row

AREA = "fuzzing"
FUNCTIONS = MATRIX_FUNCTIONS | SPECTRA | STATISTICS | WHITENING
CALLS, INPUTS = 400, 160
T = TypeVar("T")


def examples(strategy: st.SearchStrategy[T], number: int) -> list[T]:
    """So many draws, the same in every run."""
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


def outcomes(drawn: Sequence[str], problems: Sequence[str]) -> dict[str, bool]:
    """By number, input and what is wrong with its result."""
    pairs = enumerate(zip(drawn, problems, strict=True))
    return {f"{number}, {one}: {wrong}": not wrong for number, (one, wrong) in pairs}


def of_function(name: str, calls: Sequence[Call]) -> Row:
    worst: Worst = {}
    found = outcomes([call.drawn for call in calls], [problem(call, worst) for call in calls])
    errors = [f"{worst[d]:.0e} in {str(d)[6:]}" for d in DTYPES if d in worst]
    what = f"random calls of {name}"
    return row(AREA, what, found, worst="off by " + ", ".join(errors), beside=beside(calls))


def rows(quick: bool) -> Iterator[Row]:
    share = 16 if quick else 1
    public = [name for name in F.__all__ if name.islower()]
    yield row(AREA, "public functions called", {name: name in FUNCTIONS for name in public})
    for name, strategy in FUNCTIONS.items():
        yield of_function(name, examples(strategy, CALLS // share))
    for family in FAMILIES:
        inputs = examples(given_to(family), INPUTS // share)
        found = outcomes([*map(str, inputs)], [*map(problem_of, inputs)])
        yield row(AREA, f"random inputs of {family}", found)
