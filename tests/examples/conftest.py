"""Loading of the examples, which are folders of scripts that import each other by plain names."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def load_example() -> Iterator[Callable[[str], SimpleNamespace]]:
    """Import all modules of an example; they are forgotten after the test module."""
    folders: list[Path] = []

    def load(name: str) -> SimpleNamespace:
        folder = EXAMPLES / name
        folders.append(folder)
        sys.path.insert(0, str(folder))
        names = sorted(file.stem for file in folder.glob("*.py"))
        return SimpleNamespace(**{name: importlib.import_module(name) for name in names})

    yield load
    for folder in folders:
        sys.path.remove(str(folder))
        for name in [file.stem for file in folder.glob("*.py")]:
            sys.modules.pop(name, None)
