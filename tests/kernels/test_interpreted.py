"""The kernels, in Triton's interpreter, against float64 and against what their cells promise."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")  # torch brings it on Linux only


PROGRAMS = {
    "interpreted": 150,
    "interpreted_larger": 40,
    "interpreted_published": 90,
    "interpreted_symmetric_part": 70,
    "interpreted_cells": 300,
}


@pytest.mark.parametrize(("program", "at_least"), PROGRAMS.items())
def test_errors_are_within_their_bounds(program: str, at_least: int) -> None:
    run(program, at_least)


def run(program: str, at_least: int) -> None:
    """A program prints that many records or more, and none is out of its bounds."""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment = os.environ | paths | {"TRITON_INTERPRET": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.kernels.{program}"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    records = json.loads(ended.stdout)
    assert len(records) >= at_least
    assert [record for record in records if not record[1] <= record[2]] == []
