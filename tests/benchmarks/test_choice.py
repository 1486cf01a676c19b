"""What ``auto`` takes is near the fastest of its accuracy, in the committed measurements."""

import json
from pathlib import Path
from typing import Any

import pytest

RESULTS = sorted(
    (Path(__file__).parents[2] / "benchmarks" / "results").glob("matrix_functions-*.json")
)
GROUPED_BY = ("function", "dtype", "n")


def groups(path: Path) -> list[list[dict[str, Any]]]:
    rows = [row for row in json.loads(path.read_text())["rows"] if row["time_ms"] is not None]
    keys = dict.fromkeys(tuple(row[key] for key in GROUPED_BY) for row in rows)
    return [[row for row in rows if tuple(row[k] for k in GROUPED_BY) == key] for key in keys]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_auto_is_within_a_third_of_the_fastest_cell_of_its_accuracy(path: Path) -> None:
    misses = {}
    for rows in groups(path):
        (auto,) = (row for row in rows if row["method"] == "auto")
        equal = [
            row
            for row in rows
            if row["role"] != "peer"
            and row["status"] == "ok"
            and row["value_error"] <= 1.5 * auto["value_error"]
            and row["gradient_error"] <= 1.5 * auto["gradient_error"]
        ]
        fastest = min(equal, key=lambda row: row["time_ms"])
        if auto["time_ms"] > 1.3 * fastest["time_ms"]:
            cell = f"{fastest['method']} x {fastest['backward']}"
            misses[tuple(auto[key] for key in GROUPED_BY)] = (cell, auto["time_ms"], fastest)
    assert not misses


def test_there_are_measurements() -> None:
    assert any(path.stem.endswith("-quick") for path in RESULTS)
