"""The kernels of mending, teams, batches and features, in the interpreter of Triton."""

import pytest

from tests.kernels.test_interpreted import run

PROGRAMS = {
    "interpreted_mending": 60,
    "interpreted_teams": 4,
    "interpreted_batch": 100,
    "interpreted_features": 100,
}


@pytest.mark.parametrize(("program", "at_least"), PROGRAMS.items())
def test_errors_are_within_their_bounds(program: str, at_least: int) -> None:
    run(program, at_least)
