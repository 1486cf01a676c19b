"""The kernels, in Triton's interpreter, against float64."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")  # torch brings it on Linux only


@pytest.mark.parametrize("program", ["interpreted", "interpreted_features"])
def test_errors_are_within_their_bounds(program: str) -> None:
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
    assert len(records) > 100
    assert [record for record in records if not record[1] <= record[2]] == []
