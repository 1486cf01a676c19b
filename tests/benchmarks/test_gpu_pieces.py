"""The pieces of the run on a GPU: what is warm, what is judged, and what a failure loses."""

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from benchmarks.gpu import own_tests, parts, promises
from benchmarks.gpu.__main__ import card, fails, main
from benchmarks.gpu.processes import (
    OUT_OF_TIME,
    POISONED,
    finish_within,
    run_cases,
    supervised,
    whole,
)
from benchmarks.gpu.setting import Setting, Skipped, Spoilt
from benchmarks.gpu.table import table
from benchmarks.gpu.timing import side_by_side
from benchmarks.measure import AGREEING, WARM_UPS, milliseconds, settled

Row = dict[str, Any]
SETTING = Setting("cpu", quick=True, min_time=1e-3, until=monotonic() + 600)


def timed(times: list[float]) -> tuple[Callable[[Callable[[], object]], float], list[float]]:
    """A clock whose calls take these seconds, the last of them for ever; and what it has told."""
    told: list[float] = []

    def time(step: Callable[[], object]) -> float:
        step()
        told.append(times[min(len(told), len(times) - 1)])
        return told[-1]

    return time, told


@pytest.mark.parametrize(
    ("times", "calls", "last"),
    [
        ([5.5, 0.1, 2e-3, 2.1e-3], 4, 2.1e-3),  # compiled, then tuned, then warm
        ([1.0, 1.0], 2, 1.0),
        ([1e-3, 1.4e-3], 2, 1.4e-3),
        ([1e-3, 5.5, 1e-3, 1e-3], 4, 1e-3),  # compiled anew at the second call
    ],
)
def test_what_agrees_twice_is_warm(times: list[float], calls: int, last: float) -> None:
    clock, told = timed(times)
    assert settled(lambda: None, time=clock) == last
    assert len(told) == calls


def test_what_never_agrees_is_measured_all_the_same() -> None:
    clock, told = timed([2.0**-k * AGREEING**-k for k in range(30)])
    settled(lambda: None, time=clock)
    assert len(told) == 1 + WARM_UPS


def test_a_call_that_came_before_counts() -> None:
    clock, told = timed([1.1])
    assert settled(lambda: None, 1.0, clock) == 1.1
    assert len(told) == 1


def test_a_slow_first_call_is_in_no_median() -> None:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        end = monotonic() + (0.3 if calls == 1 else 0)
        while monotonic() < end:
            pass

    ((median, iqr),) = milliseconds([step], 1e-3)
    assert median < 10  # 300 with the first call
    assert iqr < 10


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


def broken() -> Iterator[Row]:
    yield {"what": "first"}
    raise ValueError("of\nno use")


def skipped() -> Iterator[Row]:
    raise Skipped("needs a GPU")
    yield {}


def spoilt() -> Iterator[Row]:
    yield {"what": "last", "status": "odd"}
    raise Spoilt


def test_a_case_that_raises_loses_its_own_rows_alone() -> None:
    written: list[Row] = []
    cases = {"a": broken, "b": skipped, "c": lambda: [{"what": "fine"}]}
    assert run_cases(cases, written.append) == 0
    rows = [row for row in written if "status" in row]
    assert [(row["case"], row["status"]) for row in rows] == [
        ("a", "ok"),
        ("a", "ValueError: of no use"),
        ("b", "skipped: needs a GPU"),
        ("c", "ok"),
    ]
    assert [fails(row) for row in rows] == [False, True, False, False]


def test_a_spoilt_process_measures_nothing_more() -> None:
    written: list[Row] = []
    cases = {"a": spoilt, "b": broken}
    assert run_cases(cases, written.append) == POISONED
    assert written[-1] == {"case": "a", "what": "last", "status": "odd"}


PROGRAM = """
    import os, sys, time
    from pathlib import Path
    import json

    file, first = Path(sys.argv[2]), int(sys.argv[4])
    with file.open("a") as lines:
        def write(row):
            lines.write(json.dumps(row) + "\\n")
            lines.flush()
        write({"cases": ["fine", "dies", "poisons", "after", "hangs", "never"]})
        for number in range(first, 6):
            write({"starts": number})
            write({"case": number, "status": "ok"})
            if number == 1:
                print("killed by a case", flush=True)
                os._exit(9)
            if number == 2:
                os._exit(3)
            if number == 4:
                lines.write('{"case": 4, "sta')
                lines.flush()
                time.sleep(600)
"""


def test_a_process_that_dies_or_hangs_loses_one_case(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    rows = [*supervised([sys.executable, str(program)], monotonic() + 8)]
    assert [(row["case"], row["status"]) for row in rows] == [
        (0, "ok"),
        (1, "ok"),
        ("dies", "the process ended with 9: killed by a case"),
        (2, "ok"),
        (3, "ok"),
        (4, "ok"),
        ("hangs", OUT_OF_TIME),
        ("never", OUT_OF_TIME),
    ]


def test_a_figure_that_is_not_finite_is_none() -> None:
    assert whole('{"differs_by": NaN, "b": Infinity, "c": 1.5}') == {
        "differs_by": None,
        "b": None,
        "c": 1.5,
    }


def test_a_full_run_wants_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--device", "cpu"])
    assert "needs a GPU" in capsys.readouterr().err


def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    child = f"import time; time.sleep(2); open({str(mark)!r}, 'w')"
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
    assert finish_within([sys.executable, "-c", program], 30) == (0, "")
    code, said = finish_within([sys.executable, "-c", "import time; time.sleep(3)"], 0.1)
    assert (code, said) == (None, "")
    finish_within([sys.executable, "-c", "import time; time.sleep(3)"], 30)
    assert not mark.exists()


def test_a_side_that_raises_has_no_turn() -> None:
    def raises() -> None:
        raise RuntimeError("did not converge")

    rows = [*side_by_side({"own": lambda: None, "peer": raises}, SETTING)]
    assert [row["status"] for row in rows] == ["ok", "RuntimeError: did not converge"]
    assert rows[0]["wall_ms"] >= 0
    assert "wall_ms" not in rows[1]


PYTEST = """
tests/gpu/test_a.py::test_one[a b] PASSED                [ 25%]
tests/gpu/test_a.py::test_one[a - c] FAILED              [ 50%]
tests/gpu/test_a.py::test_two SKIPPED (why)              [ 75%]
"""
SUMMARY = "FAILED tests/gpu/test_a.py::test_one[a - c] - assert 1 == 2\n"


@pytest.mark.parametrize(
    ("said", "code", "status", "failures"),
    [
        (PYTEST + SUMMARY, 1, "1 failed", [SUMMARY.strip().removeprefix("FAILED ")]),
        (PYTEST, None, OUT_OF_TIME, ["tests/gpu/test_a.py::test_one[a - c]"]),
        ("", 5, "ok", []),
        ("ImportError while loading conftest", 4, "pytest ended with 4: ImportError while", []),
    ],
)
def test_what_pytest_told(said: str, code: int | None, status: str, failures: list[str]) -> None:
    row = own_tests.read(said, code)
    assert row["status"].startswith(status)
    assert row["failures"] == failures
    if said.startswith("\ntests"):
        assert (row["passed"], row["failed"], row["skipped"]) == (1, 1, 1)


def test_shards_share_the_cases() -> None:
    cases = {str(number): lambda: [] for number in range(8)}
    shares = [parts.of_shard(cases, f"{k}/3") for k in range(3)]
    assert sorted(name for share in shares for name in share) == [*cases]
    assert [*shares[1]] == ["1", "4", "7"]


def test_a_table_counts_what_was_skipped() -> None:
    skipped = [{"case": str(k), "status": "skipped: needs a GPU"} for k in range(3)]
    bad = {"case": "a", "what": "b", "wall_ms": None, "status": "ValueError: c"}
    text = table([{"case": "a", "what": "c", "wall_ms": 1.23456, "status": "ok"}, bad, *skipped])
    assert text.splitlines()[1].split() == ["a", "c", "1.235"]
    assert text.splitlines()[3:] == ["    ValueError: c", "3 skipped: needs a GPU"]


def test_the_name_of_a_card() -> None:
    assert card("NVIDIA H100 80GB HBM3") == "nvidia_h100_80gb_hbm3"
