"""What is said of a run on a GPU: which promise holds, what failed, what was skipped."""

from time import monotonic
from typing import Any

import pytest

from benchmarks.gpu import own_tests, parts, promises
from benchmarks.gpu.__main__ import card
from benchmarks.gpu.processes import OUT_OF_TIME
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.table import table

Row = dict[str, Any]
SETTING = Setting("cpu", quick=True, min_time=1e-3, until=monotonic() + 600)


def measured(**figures: Row) -> list[Row]:
    """Rows of the promised pairs, with these figures by the name of the row."""
    return [
        {"part": one.part, "case": one.case, "what": what, "status": "ok", **figures[what]}
        for one in promises.PROMISES
        for what in (one.what, one.against)
        if what in figures
    ]


@pytest.mark.parametrize(("own", "verdict"), [(1.9, True), (2.0, True), (2.1, False)])
def test_a_ratio_is_judged_by_its_bound(own: float, verdict: bool) -> None:
    rows = measured(**{"whitened throughout": {"wall_ms": own}, "BatchNorm2d": {"wall_ms": 1.0}})
    (row,) = (row for row in promises.verdicts(rows) if row["what"] == "whitened throughout")
    assert row["measured"] == own
    assert row["holds"] is verdict


@pytest.mark.parametrize(("rate", "verdict"), [(91.0, True), (60.0, False), (None, None)])
def test_a_rate_is_to_be_reached(rate: float | None, verdict: bool | None) -> None:
    rows = measured(roots={"tera": rate})
    found = {row["case"]: row for row in promises.verdicts(rows) if row["what"] == "roots"}
    assert found["n = 64"]["holds"] is verdict


def test_a_quick_run_is_not_judged() -> None:
    rows = measured(CovPool={"wall_ms": 1.0}, mean={"wall_ms": 1.0})
    found = [*promises.verdicts(rows, judged=False)]
    assert 1.0 in {row["measured"] for row in found}
    assert {row["holds"] for row in found} == {None}


def test_what_was_not_measured_is_skipped() -> None:
    rows = measured(sqrtm={"wall_ms": 1.0})  # its peer has raised
    verdicts = [*promises.verdicts(rows)]
    assert len(verdicts) == len(promises.PROMISES)
    assert {row["holds"] for row in verdicts} == {None}
    assert "skipped" in table(verdicts)


@pytest.mark.parametrize("promise", promises.PROMISES, ids=str)
def test_a_promise_is_of_a_case_that_is_measured(promise: promises.Promise) -> None:
    assert promise.case in parts.PARTS[promise.part].cases(SETTING)


PYTEST = """
tests/gpu/test_a.py::test_one[a b]
[gw1] [ 25%] PASSED tests/gpu/test_a.py::test_one[a b]
[gw0] [ 50%] FAILED tests/gpu/test_a.py::test_one[a - c]
[gw0] [ 75%] SKIPPED tests/gpu/test_a.py::test_two
[gw1] [100%] PASSED tests/gpu/test_b.py::test_three
"""
FAILURE = "tests/gpu/test_a.py::test_one[a - c]"
SUMMARY = f"=== short test summary info ===\nFAILED {FAILURE} - assert 1 == 2\n"


@pytest.mark.parametrize(
    ("said", "code", "status", "failures"),
    [
        (PYTEST + SUMMARY, 1, "ok", [f"{FAILURE} - assert 1 == 2"]),
        (PYTEST, None, OUT_OF_TIME, [FAILURE]),
    ],
)
def test_what_pytest_told(said: str, code: int | None, status: str, failures: list[str]) -> None:
    first, second = own_tests.read(said, code)
    assert (first["passed"], first["failed"], first["skipped"]) == (1, 1, 1)
    assert (first["status"], first["failures"]) == ("1 failed", failures)
    assert (second["what"], second["status"], second["passed"]) == ("test_b.py", status, 1)


@pytest.mark.parametrize(
    ("said", "code", "status"),
    [
        ("", 5, "ok"),
        ("", None, OUT_OF_TIME),
        ("ImportError while loading conftest", 4, "pytest ended with 4: ImportError while"),
    ],
)
def test_what_pytest_told_of_no_test(said: str, code: int | None, status: str) -> None:
    (row,) = own_tests.read(said, code)
    assert row["status"].startswith(status)


def test_a_table_counts_what_was_skipped() -> None:
    skipped = [{"case": str(k), "status": "skipped: needs a GPU"} for k in range(3)]
    bad = {"case": "a", "what": "b", "wall_ms": None, "status": "ValueError: c"}
    text = table([{"case": "a", "what": "c", "wall_ms": 1.23456, "status": "ok"}, bad, *skipped])
    assert text.splitlines()[1].split() == ["a", "c", "1.235"]
    assert text.splitlines()[3:] == ["    ValueError: c", "3 skipped: needs a GPU"]


def test_the_name_of_a_card() -> None:
    assert card("NVIDIA H100 80GB HBM3") == "nvidia_h100_80gb_hbm3"
