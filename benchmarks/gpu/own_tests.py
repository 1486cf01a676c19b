"""The tests that need a GPU, shared out among the processors: most of their time is compilation."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from time import monotonic

from benchmarks.gpu.processes import MARGIN, OK, OUT_OF_TIME, finish_within, python
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.measure import Row

FOLDER = "tests/gpu"
OPTIONS = ("-v", "-rfE", "--tb=line", "--color=no", "-p", "no:cacheprovider")
OUTCOME = re.compile(r"\b(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (tests/\S+?)::(.*?)\s*$", re.M)
BROKEN = re.compile(r"^(?:FAILED|ERROR) (tests/.+)$", re.M)
NONE_COLLECTED = 5  # as where a file is skipped as a whole


def cases(setting: Setting) -> Cases:
    """All of them."""
    return {FOLDER: partial(outcomes, setting)}


def outcomes(setting: Setting) -> Iterator[Row]:
    """One row for each file: how many passed, and which did not."""
    workers = 1 if setting.quick else os.cpu_count() or 1
    command = python("pytest", FOLDER, *OPTIONS, "-n", str(workers))
    code, said = finish_within(command, setting.until - MARGIN - monotonic())
    yield from read(said, code)


def read(said: str, code: int | None) -> Iterator[Row]:
    """What the workers of pytest told, also of a run that was cut off (``code`` None)."""
    summary = BROKEN.findall(said)
    told = said.partition("short test summary")[0]
    files: dict[str, Counter[str]] = {}
    broken: dict[str, list[str]] = {}
    for outcome, path, name in OUTCOME.findall(told):
        files.setdefault(path, Counter())[outcome] += 1
        if outcome in ("FAILED", "ERROR"):
            broken.setdefault(path, []).append(f"{path}::{name}")
    if not files:
        status = OK if code in (0, NONE_COLLECTED) else f"pytest ended with {code}: {tail(said)}"
        yield row(FOLDER, OUT_OF_TIME if code is None else status, Counter(), [])
    for path, counts in sorted(files.items()):
        failed = counts["FAILED"] + counts["ERROR"]
        failures = [one for one in summary if one.startswith(path)] or broken.get(path, [])
        status = OUT_OF_TIME if code is None else OK
        yield row(path, f"{failed} failed" if failed else status, counts, failures)


def row(path: str, status: str, counts: Counter[str], failures: list[str]) -> Row:
    """The row of a file."""
    return {
        "what": path.removeprefix(f"{FOLDER}/"),
        "status": status,
        "passed": counts["PASSED"],
        "failed": counts["FAILED"] + counts["ERROR"],
        "skipped": counts["SKIPPED"],
        "failures": failures,
    }


def tail(said: str) -> str:
    """The end of what was said, in one line."""
    return " ".join(said.split())[-500:]
