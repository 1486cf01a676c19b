"""The kernels, in Triton's interpreter, against float64 and against what their cells promise."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")  # torch brings it on Linux only


PROGRAMS = {
    "interpreted": 300,
    "interpreted_larger": 40,
    "interpreted_teams": 4,
    "interpreted_published": 150,
    "interpreted_mending": 120,
    "interpreted_symmetric_part": 70,
    "interpreted_cells": 300,
    "interpreted_batch": 100,
    "interpreted_features": 100,
}


@pytest.mark.parametrize(("program", "at_least"), PROGRAMS.items())
def test_errors_are_within_their_bounds(program: str, at_least: int) -> None:
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment = os.environ | paths | {"TRITON_INTERPRET": "1"}
    run = subprocess.run(
        [sys.executable, "-m", f"tests.kernels.{program}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    records = json.loads(run.stdout)
    assert len(records) >= at_least
    assert [record for record in records if not record[1] <= record[2]] == []
