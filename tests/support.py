"""What works with what, as the tests show it: ``python -m tests.support`` writes docs/support.json.

A test that shows a property carries ``@pytest.mark.support(property, of=parameter)``: it holds for
what that parameter names, by default ``name``. Where the subject is right to raise, the test says
so by ``record_property("support", "raises ...")``. With ``--check`` no test runs: it is an error if
the file has other cells than the tests.
"""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import torch

from tests.marked import ROOT, collect, in_step, run

FILE = ROOT / "docs" / "support.json"
TESTS = ("tests/functional", "tests/modules/test_contract.py", "tests/test_onnx.py")
TABLES = {"name": "modules", "method": "methods", "backward": "rules"}

Cell = tuple[str, str, str]  # table, subject, property


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the marked tests and write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare the file with the tests")
    check = parser.parse_args(arguments).check
    outcomes = Outcomes()
    code = (
        collect("support", outcomes, TESTS) if check else run("support", outcomes, TESTS, "--full")
    )
    if code != pytest.ExitCode.OK:
        return code
    if not check:
        FILE.write_text(json.dumps(outcomes.results(), indent=1, ensure_ascii=False) + "\n")
        return 0
    written = cells(json.loads(FILE.read_text())["tables"])
    return int(not in_step(FILE, set(outcomes.said), written))


class Outcomes:
    """A plugin of pytest that gathers what the marked tests say of each cell."""

    def __init__(self) -> None:
        self.shown: dict[str, list[Cell]] = {}
        self.said: dict[Cell, set[str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.shown = {item.nodeid: shown_by(item) for item in session.items}
        self.said = {cell: set() for shown in self.shown.values() for cell in shown}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            word = "– " + report.longrepr[2].removeprefix("Skipped: ")
        elif report.when == "call":
            word = dict(report.user_properties).get("support", "yes")
        else:
            return
        for cell in self.shown[report.nodeid]:
            self.said[cell].add(word)

    def results(self) -> dict[str, Any]:
        """What is written: subjects by the alphabet, properties as the tests come."""
        tables: dict[str, dict[str, dict[str, str]]] = {}
        for cell in sorted(self.said, key=lambda cell: cell[:2]):
            table, subject, what = cell
            if len(self.said[cell]) != 1:
                raise ValueError(f"the tests of {cell} disagree: {self.said[cell]}")
            (tables.setdefault(table, {}).setdefault(subject, {})[what],) = self.said[cell]
        facts = {
            "date": datetime.now(UTC).date().isoformat(),
            "torch": torch.__version__.partition("+")[0],
            "tests": len(self.shown),
        }
        return {"metadata": facts, "tables": tables}


def shown_by(item: pytest.Item) -> list[Cell]:
    """The cells that a test fills; none where its parameter is None."""
    found = []
    for mark in item.iter_markers("support"):
        of = mark.kwargs.get("of", "name")
        subject = item.callspec.params[of]
        if subject is not None:
            found.append((TABLES[of], subject, mark.args[0]))
    return found


def cells(tables: dict[str, dict[str, dict[str, str]]]) -> set[Cell]:
    """The cells of a file."""
    return {
        (table, subject, what)
        for table, rows in tables.items()
        for subject, properties in rows.items()
        for what in properties
    }


if __name__ == "__main__":
    raise SystemExit(main())
