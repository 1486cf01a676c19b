"""What the tests of the examples share; an example is a folder of scripts with plain imports."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from more, and wait for each other on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["main.py"])
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # what a test sets is undone
