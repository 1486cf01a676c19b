"""Running the tests that carry a mark, for a file that says how they went."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(mark: str, plugin: object, tests: Sequence[str], *options: str) -> int:
    """The exit code of pytest, which the plugin listens to."""
    with contextlib.chdir(ROOT):
        given = ["-qq", "-m", mark, "-p", "no:cacheprovider", *options, *tests]
        return pytest.main(given, [plugin])


def collect(mark: str, plugin: object, tests: Sequence[str]) -> int:
    """Collect the tests, and run none: for a test, whose own run is left alone."""
    alone = [f"-pno:{name}" for name in ("faulthandler", "threadexception", "unraisableexception")]
    return run(mark, plugin, tests, "--collect-only", "--full", *alone)


def in_step(file: Path, tested: set[tuple[str, ...]], written: set[tuple[str, ...]]) -> bool:
    """Whether a file speaks of what the tests speak of; prints where not."""
    for words, difference in (("lacks", tested - written), ("is alone with", written - tested)):
        if difference:
            print(f"{file.name} {words} {sorted(difference)}; write it again")
    return tested == written
