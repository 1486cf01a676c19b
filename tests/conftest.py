"""Shared by every test; and the benchmarks as modules, with what they write of next to nothing."""

import gc
import importlib
import json
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import pytest
import torch

from tests.counted import Counted

Script = Callable[[str], ModuleType]
Measure = Callable[..., dict[str, Any]]


MARKS = (
    "support(property, of='name'): it holds for what that parameter names; see support.py",
    "promise(area, what): a line of the page on reliability; see reliability/__main__.py",
    "full: left out of make test; runs with --full, as in make reliability",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="more tries, as in make reliability")


def pytest_configure(config: pytest.Config) -> None:
    # A compiler makes millions of objects: the search for cycles took a tenth of the time of a test
    # that compiles, and takes half of that with these thresholds in place of 700, 10, 10.
    gc.set_threshold(10_000, 20, 20)
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("full"):
        items[:] = [item for item in items if item.get_closest_marker("full") is None]
    for item in items:
        for mark in item.iter_markers("promise"):
            given = item.callspec.params if hasattr(item, "callspec") else {}
            item.user_properties.append(("promise", [part.format(**given) for part in mark.args]))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    result = yield
    if "counted" in pyfuncitem.funcargs:
        pyfuncitem.funcargs["counted"].finish()
    return result


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counted:
    """Goes through the cases of a test."""
    return Counted(record_property)


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether to try as much as ``make reliability`` does."""
    return pytestconfig.getoption("full")


@pytest.fixture
def whole_graph(full: bool) -> Callable[..., Any]:
    """Compile into one graph or raise.

    AOTAutograd traces the graph again, which takes two thirds of the time: only with ``--full``.
    """
    torch._dynamo.reset()
    return partial(torch.compile, fullgraph=True, backend="aot_eager" if full else "eager")


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
