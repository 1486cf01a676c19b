"""The benchmark runs on tiny matrices, leaves out no cell and writes what it promises."""

import copy
import importlib
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from covlayers.functional import BACKWARDS, METHODS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = ["--device", "cpu", "--sizes", "4", "--batch", "2", "--min-time", "0.001"]


@pytest.fixture(scope="module")
def run() -> Iterator[ModuleType]:
    """The script as a module, its sibling found beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("run")


@pytest.fixture(scope="module")
def record(run: ModuleType) -> ModuleType:
    return importlib.import_module("record")


@pytest.fixture(scope="module")
def measure(run: ModuleType) -> ModuleType:
    return importlib.import_module("measure")


@pytest.fixture(scope="module")
def results(run: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("results") / "new" / "tiny.json"
    run.main([*TINY, "--output", str(path)])
    assert [file.name for file in path.parent.iterdir()] == ["tiny.json"]
    return json.loads(path.read_text())


def rows_by_cell(results: dict[str, Any]) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(r["function"], r["method"], r["backward"]): r for r in results["rows"]}


def test_every_registered_cell_has_a_row(
    run: ModuleType, record: ModuleType, results: dict[str, Any]
) -> None:
    record.validate(results, run.SCHEMA)
    cells = rows_by_cell(results)
    assert len(cells) == len(results["rows"])
    named = set(product(("sqrtm", "invsqrtm"), METHODS.keys() - {"auto"}, BACKWARDS))
    named |= {(function, "auto", "default") for function in ("sqrtm", "invsqrtm")}
    assert named <= cells.keys()
    assert {method for _, method, _ in cells.keys() - named} == {
        "torch.linalg.eigh",
        "torch.linalg.matrix_sqrth",
    }


@pytest.mark.parametrize("function", ["sqrtm", "invsqrtm"])
def test_the_baseline_is_accurate_and_complete(results: dict[str, Any], function: str) -> None:
    row = rows_by_cell(results)[function, "eigh", "loewner"]
    assert row["status"] == "ok"
    assert 0 < row["value_error"] < 1e-2
    assert 0 < row["gradient_error"] < 1e-2
    assert row["relative"] == 1
    assert row["time_ms"] > 0
    assert row["saved_bytes"] >= 4 * 2 * (4 * 4 + 4)  # eigenvectors and eigenvalues


@pytest.mark.parametrize("function", ["sqrtm", "invsqrtm"])
def test_the_reference_solves_its_equation(measure: ModuleType, function: str) -> None:
    problem = measure.Problem.random(function, 5, 3, condition=10.0, seed=0, device="cpu")
    A, root = problem.A.detach().double(), problem.value
    inverse = function == "invsqrtm"
    torch.testing.assert_close(
        root @ root @ A if inverse else root @ root, A.matrix_power(1 - inverse)
    )
    # By central differences in an arbitrary symmetric direction.
    direction = torch.ones(5, 5, dtype=torch.float64)
    ahead, behind = (measure.reference(function, A + h * direction, A)[0] for h in (1e-6, -1e-6))
    slope = ((ahead - behind) / 2e-6 * problem.weight.double()).sum((-2, -1))
    torch.testing.assert_close((problem.gradient * direction).sum((-2, -1)), slope)


def test_failures_are_shown(run: ModuleType, measure: ModuleType) -> None:
    def fails(A: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("no\nluck")

    problem = measure.Problem.random("sqrtm", 4, 2, condition=10.0, seed=0, device="cpu")
    cells = [measure.Cell("a", "b", step) for step in (fails, lambda A: A / 0)]
    raised, spoilt = rows = measure.measure(cells, problem, 1e-3)
    assert raised["status"] == "ArithmeticError: no luck"
    assert raised["time_ms"] is None
    assert spoilt["status"] == "non-finite value and gradient"
    assert spoilt["value_error"] is None
    assert spoilt["time_ms"] > 0
    assert "no luck" in run.table(rows)


def test_incomplete_results_are_refused(
    run: ModuleType, record: ModuleType, results: dict[str, Any], tmp_path: Path
) -> None:
    for part in ("metadata", "rows"):
        with pytest.raises(ValueError, match=part):
            record.validate({k: v for k, v in results.items() if k != part}, run.SCHEMA)
    without_rows = results | {"rows": []}
    nameless = copy.deepcopy(results)
    del nameless["rows"][3]["method"]
    dateless = copy.deepcopy(results)
    del dateless["metadata"]["date"]
    for wrong, what in ((without_rows, "no rows"), (nameless, "method"), (dateless, "date")):
        with pytest.raises(ValueError, match=what):
            record.write(wrong, run.SCHEMA, tmp_path / "wrong.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sizes", "0"], "expected a positive number, got '0'"),
        (["--sizes", "5"], "give --batch"),
        (["--min-time", "nan"], "expected a positive number"),
        (["--device", "abacus"], "invalid choice"),
        (["--output", "."], "is a directory"),
    ],
)
def test_wrong_options_are_explained(
    run: ModuleType, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run.main(options)
    assert message in capsys.readouterr().err


def test_a_peer_that_torch_lacks_is_said_to_be_skipped(
    measure: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.linalg, "matrix_sqrth", raising=False)
    problem = measure.Problem.random("sqrtm", 4, 2, condition=10.0, seed=0, device="cpu")
    *_, peer = measure.peers("sqrtm")
    assert "skipped" in measure.examine(peer, problem)["status"]
