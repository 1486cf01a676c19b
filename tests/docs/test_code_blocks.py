"""What the pages show as code runs, from the top of each page to its end."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from tests.docs.markdown_pages import PAGES, ROOT, blocks

PYTHON = [page for page in PAGES if any(block.runs for block in blocks(page, "python"))]
CONSOLE = [page for page in PAGES if blocks(page, "console")]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
# Where commands are run: in the repository, or in one of the examples.
FOLDERS = [ROOT, *(path.parent for path in ROOT.glob("examples/*/main.py"))]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each block runs in a folder of its own, on one thread."""
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("page", PYTHON)
def test_python(page: str) -> None:
    """The blocks of a page share their names; an error shows the file and the line."""
    names = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if block.runs:
            text = "\n" * (block.line - 1) + block.text
            exec(compile(text, ROOT / page, "exec"), names)


@pytest.mark.parametrize("page", CONSOLE)
def test_console(page: str) -> None:
    """A target is one of the Makefile's; a script or a configuration is in the repository."""
    for block in blocks(page, "console"):
        for command in re.findall(r"^\$ (.*)", block.text.replace("\\\n", ""), re.MULTILINE):
            words = re.split(r"[\s()=]+", command.partition("#")[0])
            for before, word in pairwise(words):
                if before == "make":
                    assert word in TARGETS, command
                if (before.endswith("python") and word.endswith(".py")) or word.endswith(".yaml"):
                    assert any((folder / word).is_file() for folder in FOLDERS), command
