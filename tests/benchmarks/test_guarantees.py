"""What the README says of this library and of its peers is what came out when it was tried."""

import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tried(measured) -> dict[str, Any]:
    return measured("guarantees")


def test_everything_holds_here(tried: dict[str, Any]) -> None:
    own = [row for row in tried["rows"] if row["implementation"] == "covlayers"]
    assert own
    assert {row["property"]: row["outcome"] for row in own if row["outcome"] != "yes"} == {}


def test_a_failure_would_show(script) -> None:
    guarantees = script("guarantees")

    def wrong(A):
        return A.detach().nan_to_num() * float("nan")

    outcomes = {guarantees.outcome(holds, [wrong]) for holds in guarantees.PROPERTIES.values()}
    assert "yes" not in outcomes


def test_the_readme_has_the_table(script) -> None:
    results = json.loads((ROOT / "benchmarks/results/guarantees-cpu.json").read_text())
    assert script("guarantees").table(results["rows"]) in (ROOT / "README.md").read_text()
