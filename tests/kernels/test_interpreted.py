"""The kernels, in Triton's interpreter, against their twins and against float64."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[2]


def test_as_accurate_as_the_twin() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.kernels.interpreted"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    records = json.loads(run.stdout)
    assert len(records) > 100
    failed = [
        (what, kernel, twin) for what, kernel, twin in records if not kernel <= max(2 * twin, 1e-5)
    ]
    assert not failed
