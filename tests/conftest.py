"""Shared by every test; and the benchmarks as modules, with what they write of next to nothing."""

import importlib
import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

Script = Callable[[str], ModuleType]
Measure = Callable[..., dict[str, Any]]


def pytest_configure(config: pytest.Config) -> None:
    mark = "support(property, of='name'): it holds for what that parameter names; see support.py"
    config.addinivalue_line("markers", mark)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def script() -> Script:
    """A benchmark by its name."""
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="session")
def measured(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """What a script writes, run with these options and with these of its constants replaced."""

    def run(name: str, *options: str, **constants: Any) -> dict[str, Any]:
        path = tmp_path_factory.mktemp("results") / "new" / "tiny.json"
        module = script(name)
        with pytest.MonkeyPatch.context() as patch:
            for constant, value in constants.items():
                patch.setattr(module, constant, value)
            module.main(["--device", "cpu", "--min-time", "0.001", *options, "--output", str(path)])
        assert [file.name for file in path.parent.iterdir()] == ["tiny.json"]
        return json.loads(path.read_text())

    return run


@pytest.fixture(scope="session")
def tiny_run(measured: Measure) -> dict[str, Any]:
    """The grid of methods and rules on tiny matrices."""
    return measured(
        "run", "--sizes", "4", "--batch", "2", "--dtypes", "float32", "float64", GRID=(4,)
    )
