"""The page on reliability: ``python -m tests.reliability`` runs what it counts, and writes it.

A test that shows something promised carries ``@pytest.mark.promise(area, what)``, whose words may
have its parameters in braces. It counts as one case, or as those that it goes through with the
fixture ``counted``. With ``--check`` no test runs: it is an error if the file has other lines than
the tests.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.record import surroundings
from tests.counted import NONE
from tests.marked import ROOT, collect, in_step, run

FILE = ROOT / "docs" / "reliability.json"
AREAS = (
    *("bad inputs", "degenerate spectra", "fuzzing", "differentiation", "precision"),
    *("several processes", "interruption", "long training", "determinism", "supply"),
)
# The longest first: the others fill what time it leaves.
FOLDERS = ("reliability", "functional", "modules", "surgery", "test_determinism.py")
TESTS = tuple(f"tests/{name}" for name in FOLDERS)

Line = tuple[str, str]  # area, what


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the marked tests and write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--check", action="store_true", help="compare the file with the tests")
    add("--quick", action="store_true", help="fewer tries, as in make test")
    add("--jobs", type=int, default=2, metavar="N", help="processes, 2 by default")
    add("--output", type=Path, default=FILE, metavar="FILE", help="where to write, if not there")
    add("tests", nargs="*", default=TESTS, help="files and folders, all by default")
    options = parser.parse_args(arguments)
    rows = Rows()
    if options.check:
        code = collect("promise", rows, options.tests)
        written = {(row["area"], row["what"]) for row in json.loads(FILE.read_text())["rows"]}
        return code or int(not in_step(FILE, {*rows.found}, written))
    start = time.perf_counter()
    processes = (f"--numprocesses={options.jobs}", "--dist=loadfile", "--no-loadscope-reorder")
    run("promise", rows, options.tests, *processes, *(() if options.quick else ("--full",)))
    facts = surroundings("", [], "cpu")
    shown = {key: facts[key] for key in ("date", "cpu", "torch", "covlayers")}
    command = shlex.join(["python", "-m", "tests.reliability", *sys.argv[1:]])
    shown |= {"jobs": options.jobs, "seconds": round(time.perf_counter() - start)}
    found = rows.results()
    report = {"metadata": shown | {"command": command}, "rows": found}
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    tried, held = (sum(row[key] for row in found) for key in ("tried", "held"))
    print(f"{held} of {tried} held, in {shown['seconds']} s")
    return int(held != tried)


class Rows:
    """A plugin of pytest that counts, for each line of the page, how the tests went."""

    def __init__(self) -> None:
        self.found: dict[Line, list[dict[str, object]]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for item in session.items:
            for line in lines(item.user_properties):
                self.found.setdefault(line, [])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped or (report.passed and report.when != "call"):
            return
        plain = {"tried": 1, "held": int(report.passed), "worst": None, "beside": NONE}
        counted = dict(report.user_properties).get("counted", plain)
        if report.failed:  # whatever held before it failed
            counted = counted | {"held": min(counted["held"], counted["tried"] - 1)}
        for line in lines(report.user_properties):
            self.found.setdefault(line, []).append(counted)

    def results(self) -> list[dict[str, object]]:
        """One row for each line that was tried, by area."""
        tried = {line: counts for line, counts in self.found.items() if counts}
        return [row(*line, tried[line]) for line in sorted(tried, key=place)]


def lines(properties: list[tuple[str, object]]) -> list[Line]:
    """The lines of the page that a test is about."""
    return [tuple(said) for name, said in properties if name == "promise"]


def place(line: Line) -> tuple[int, str]:
    """Where the line stands on the page."""
    return AREAS.index(line[0]), line[1]


def row(area: str, what: str, counts: list[dict[str, object]]) -> dict[str, object]:
    """All tests of one line together."""
    worst = max((tuple(one["worst"]) for one in counts if one["worst"]), default=None)
    return {
        "area": area,
        "what": what,
        **{key: sum(one[key] for one in counts) for key in ("tried", "held")},
        "worst": worst[1].format(f"{worst[0]:.1g}") if worst else NONE,
        "beside": "; ".join(sorted({one["beside"] for one in counts} - {NONE})) or NONE,
    }


if __name__ == "__main__":
    sys.exit(main())
