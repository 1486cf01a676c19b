"""The run on a GPU, on next to nothing and on a CPU: every part stands, and writes its rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.promises import PART, PROMISES

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Those of each part."""
    path: Path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    options = ["--quick", "--device", "cpu", "--min-time", "0.001", "--output", str(path)]
    status = main(options)
    found = json.loads(path.read_text())["rows"]
    assert not [row for row in found if not row["status"].startswith(("ok", "skipped"))]
    assert status == 0
    return {part: [row for row in found if row["part"] == part] for part in (*PARTS, PART)}


def test_every_part_has_rows(rows: Rows) -> None:
    assert all(rows.values())


def test_what_a_cpu_has_not_says_so(rows: Rows) -> None:
    for part in ("graphs", "compiled networks"):
        assert {row["status"] for row in rows[part]} == {"skipped: needs a GPU"}
    ceilings = [row for row in rows["kernels"] if not row["case"].startswith("n =")]
    assert {row["status"] for row in ceilings} == {"skipped: needs a GPU"}


@pytest.mark.parametrize("part", ["layers", "functions", "networks"])
def test_times_are_there(rows: Rows, part: str) -> None:
    assert all(row["wall_ms"] > 0 and row["launches"] is None for row in rows[part])


def test_examples_learn_in_both_precisions(rows: Rows) -> None:
    trained = [row for row in rows["examples"] if row["status"] == "ok"]
    for row in trained:
        assert row["steps"] == 2
    assert len({(row["what"], row["precision"]) for row in trained}) == len(trained)


def test_every_promise_has_its_verdict(rows: Rows) -> None:
    assert len(rows[PART]) == len(PROMISES)
    for row in rows[PART]:
        assert (row["measured"] is None) == (row["figure"] == "tera")
        assert row["holds"] is None  # sizes are not those of the promises
