"""The tests that need a GPU, each file in a process of its own, all at once."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from benchmarks.gpu.processes import MARGIN, OK, OUT_OF_TIME, ROOT, at_once, python
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.measure import Row

FOLDER = ROOT / "tests" / "gpu"
OPTIONS = ("-v", "-rfE", "--tb=line", "--color=no", "-p", "no:cacheprovider")
OUTCOME = re.compile(r"^(tests/\S+::.*) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b.*$", re.M)
BROKEN = re.compile(r"^(?:FAILED|ERROR) (tests/.+)$", re.M)
NONE_COLLECTED = 5  # as where a file is skipped as a whole


def cases(setting: Setting) -> Cases:
    """All of them; the whole folder in one process if quick."""
    paths = [FOLDER] if setting.quick else sorted(FOLDER.glob("test_*.py"))
    return {"tests/gpu": partial(outcomes, paths, setting)}


def outcomes(paths: list[Path], setting: Setting) -> Iterator[Row]:
    """One row for each file: how many passed, and which did not."""
    commands = {
        path.name: python("pytest", str(path.relative_to(ROOT)), *OPTIONS) for path in paths
    }
    for name, code, said in at_once(commands, setting.until - MARGIN):
        yield {"what": name, **read(said, code)}


def read(said: str, code: int | None) -> Row:
    """What pytest told, also of a run that was cut off (``code`` None)."""
    counts = Counter(outcome for _, outcome in OUTCOME.findall(said))
    failures = list(dict.fromkeys(BROKEN.findall(said)))
    failures = failures or [n for n, outcome in OUTCOME.findall(said) if outcome == "FAILED"]
    failed = counts["FAILED"] + counts["ERROR"]
    status = OK
    if code is None:
        status = OUT_OF_TIME
    elif failed:
        status = f"{failed} failed"
    elif code not in (0, NONE_COLLECTED):
        status = f"pytest ended with {code}: {' '.join(said.split())[-500:]}"
    return {
        "status": status,
        "passed": counts["PASSED"],
        "failed": failed,
        "skipped": counts["SKIPPED"],
        "failures": failures,
    }
