"""The tests that carry ``@pytest.mark.support``, run in a process of their own and counted.

    python -m tests.reliability.differentiation.marked_tests FILE PROPERTY ...

writes for each test of one of these properties: where it is, what it shows, whether it passed, and
whether it says that the subject is right to raise.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support import TESTS, shown_by

ROOT = Path(__file__).parents[3]

Found = dict[str, dict[str, object]]


class Counts:
    """A plugin of pytest that leaves all other tests out."""

    def __init__(self, properties: Sequence[str]) -> None:
        self.properties = properties
        self.found: Found = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if self.shows(item)]
        self.found = {item.nodeid: {"shows": self.shows(item), "passed": False} for item in items}

    def shows(self, item: pytest.Item) -> list[str]:
        shown = {what for _, _, what in shown_by(item)}
        return [what for what in self.properties if what in shown]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            del self.found[report.nodeid]
        elif report.when == "call":
            words = dict(report.user_properties).get("support", "")
            self.found[report.nodeid] |= {"passed": report.passed, "raises": "raises" in words}


@contextmanager
def running(properties: Sequence[str]) -> Iterator[Callable[[], Found]]:
    """Starts the tests beside whatever is done here; gives what waits for them."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        command = [sys.executable, "-m", __name__, str(file), *properties]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, cwd=ROOT, env=environment, **quiet)

        def found() -> Found:
            process.wait()
            return json.loads(file.read_text())

        try:
            yield found
        finally:
            process.kill()
            process.wait()


def by_property(found: Found) -> Iterator[tuple[str, str, Found]]:
    """The tests of functions and those of modules, for each property."""
    for what in dict.fromkeys(what for one in found.values() for what in one["shows"]):
        for kind in ("functional", "modules"):
            of_kind = {
                name: one
                for name, one in found.items()
                if what in one["shows"] and name.startswith(f"tests/{kind}")
            }
            if of_kind:
                yield what, "functions" if kind == "functional" else "modules", of_kind


def main(file: str, *properties: str) -> None:
    os.chdir(ROOT)
    counts = Counts(properties)
    pytest.main(["-qq", "-m", "support", "-p", "no:cacheprovider", *TESTS], [counts])
    Path(file).write_text(json.dumps(counts.found))


if __name__ == "__main__":
    main(*sys.argv[1:])
