"""What the tests of the examples share; an example is a folder of scripts with plain imports."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def stems(folder: str) -> list[str]:
    """The names of the modules of an example, or of those that all share."""
    return sorted(file.stem for file in (EXAMPLES / folder).glob("[!_]*.py"))


@pytest.fixture(scope="module")
def load_example() -> Iterator[Callable[[str], SimpleNamespace]]:
    """Import the modules of an example; its own are forgotten when another one follows."""
    loaded: list[str] = []

    def forget() -> None:
        while loaded:
            name = loaded.pop()
            sys.path.remove(str(EXAMPLES / name))
            for stem in stems(name):
                sys.modules.pop(stem, None)

    def load(name: str) -> SimpleNamespace:
        forget()
        loaded.append(name)
        sys.path.insert(0, str(EXAMPLES / name))
        common = {stem: importlib.import_module(f"common.{stem}") for stem in stems("common")}
        own = {stem: importlib.import_module(stem) for stem in stems(name)}
        return SimpleNamespace(**own, common=SimpleNamespace(**common))

    yield load
    forget()


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
