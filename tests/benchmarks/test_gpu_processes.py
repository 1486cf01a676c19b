"""What a failure loses of a run on a GPU: a row, a case, never a part."""

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from benchmarks.gpu import parts
from benchmarks.gpu.__main__ import fails, main
from benchmarks.gpu.processes import (
    OUT_OF_TIME,
    POISONED,
    finish_within,
    run_cases,
    supervised,
    whole,
)
from benchmarks.gpu.setting import Setting, Skipped, Spoilt
from benchmarks.gpu.timing import side_by_side

Row = dict[str, Any]
SETTING = Setting("cpu", quick=True, min_time=1e-3, until=monotonic() + 600)


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


def test_shards_share_the_cases() -> None:
    cases = {str(number): lambda: [] for number in range(8)}
    shares = [parts.of_shard(cases, f"{k}/3") for k in range(3)]
    assert sorted(name for share in shares for name in share) == [*cases]
    assert [*shares[1]] == ["1", "4", "7"]
