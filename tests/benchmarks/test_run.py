"""The benchmark runs on tiny matrices, leaves out no cell and writes what it promises."""

import copy
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from covlayers.functional import BACKWARDS, METHODS

FUNCTIONS = ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm")


@pytest.fixture(scope="module")
def run(script) -> ModuleType:
    return script("run")


@pytest.fixture(scope="module")
def record(script) -> ModuleType:
    return script("record")


@pytest.fixture(scope="module")
def measure(script) -> ModuleType:
    return script("measure")


@pytest.fixture(scope="module")
def cells(script) -> ModuleType:
    return script("cells")


@pytest.fixture(scope="module")
def schema(script) -> dict[str, str]:
    return script("schemas").SCHEMAS["matrix_functions"]


@pytest.fixture(scope="module")
def results(tiny_run: dict[str, Any]) -> dict[str, Any]:
    return tiny_run


def rows_by_cell(
    results: dict[str, Any], dtype: str = "float32"
) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = [row for row in results["rows"] if row["dtype"] == dtype]
    by_cell = {(row["function"], row["method"], row["backward"]): row for row in rows}
    assert len(by_cell) == len(rows)
    return by_cell


def test_every_registered_cell_has_a_row(results: dict[str, Any]) -> None:
    rows = rows_by_cell(results)
    named = set(product(FUNCTIONS, METHODS.keys() - {"auto"}, BACKWARDS))
    named |= {(function, "auto", "default") for function in FUNCTIONS}
    assert named <= rows.keys()
    peers = {
        *("torch.linalg.eigh", "torch.linalg.matrix_sqrth", "spd_learn"),
        *("published MPA", "published MTP", "published iSQRT-COV", "published IterNorm"),
    }
    assert {method for _, method, _ in rows.keys() - named} == peers
    assert {row["method"] for row in rows.values() if row["role"] == "peer"} == peers


def test_the_grid_is_measured_in_one_type_only(results: dict[str, Any]) -> None:
    double = rows_by_cell(results, "float64")
    assert {"auto", "eigh", "newton_schulz", "spd_learn"} < {method for _, method, _ in double}
    assert {row["role"] for row in double.values()} == {"own", "peer"}
    assert double["invsqrtm", "eigh", "loewner"]["gradient_error"] < 1e-9


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
    A, (root,) = problem.A.detach().double(), problem.values
    inverse = function == "invsqrtm"
    torch.testing.assert_close(
        root @ root @ A if inverse else root @ root, A.matrix_power(1 - inverse)
    )
    # By central differences in an arbitrary symmetric direction.
    direction = torch.ones(5, 5, dtype=torch.float64)
    ahead, behind = (
        measure.reference(function, A + h * direction, [A])[0][0] for h in (1e-6, -1e-6)
    )
    slope = ((ahead - behind) / 2e-6 * problem.weights[0].double()).sum((-2, -1))
    torch.testing.assert_close((problem.gradient * direction).sum((-2, -1)), slope)


def test_the_reference_of_both_is_the_sum(measure: ModuleType) -> None:
    both = measure.Problem.random("sqrtm_and_invsqrtm", 5, 3, condition=9.0, seed=0, device="cpu")
    A = both.A.detach()
    root, inverse = (
        measure.reference(function, A, [weight])
        for function, weight in zip(FUNCTIONS, both.weights, strict=False)
    )
    torch.testing.assert_close(both.values, root[0] + inverse[0])
    torch.testing.assert_close(both.gradient, root[1] + inverse[1])


def test_failures_are_shown(run: ModuleType, measure: ModuleType, cells: ModuleType) -> None:
    def fails(A: torch.Tensor) -> torch.Tensor:
        raise ArithmeticError("no\nluck")

    problem = measure.Problem.random("sqrtm", 4, 2, condition=10.0, seed=0, device="cpu")
    both = [cells.Cell("a", "b", step) for step in (fails, lambda A: A / 0)]
    raised, spoilt = rows = measure.measure(both, problem, 1e-3)
    assert raised["status"] == "ArithmeticError: no luck"
    assert raised["time_ms"] is None
    assert spoilt["status"] == "non-finite value and gradient"
    assert spoilt["value_error"] is None
    assert spoilt["time_ms"] > 0
    assert "no luck" in run.table(rows)


def test_a_slow_cell_is_timed_once(
    measure: ModuleType, cells: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "SLOW_S", 0)
    problem = measure.Problem.random("sqrtm", 4, 2, condition=10.0, seed=0, device="cpu")
    (row,) = measure.measure([cells.Cell("a", "b", torch.abs)], problem, 1e-3)
    assert "timed once" in row["status"]
    assert row["time_ms"] > 0
    assert row["time_iqr_ms"] is row["forward_ms"] is None
    assert row["value_error"] > 0


def test_a_block_of_calls_is_one_sample(
    measure: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock moves in the calls alone, by a part of a block each."""
    calls = []
    call = measure.BLOCK_S / 8.5
    monkeypatch.setattr(measure, "perf_counter", lambda: call * len(calls))
    ((median, iqr),) = measure.milliseconds([lambda: calls.append(0)], measure.BLOCK_S)
    assert len(calls) == 2 + measure.ROUNDS * (1 + 8)  # two that agree come first
    assert median == pytest.approx(1e3 * call)
    assert iqr == pytest.approx(0)


def test_incomplete_results_are_refused(
    schema: dict[str, str], record: ModuleType, results: dict[str, Any], tmp_path: Path
) -> None:
    for part in ("metadata", "rows"):
        with pytest.raises(ValueError, match=part):
            record.validate({k: v for k, v in results.items() if k != part}, schema)
    without_rows = results | {"rows": []}
    nameless = copy.deepcopy(results)
    del nameless["rows"][3]["method"]
    dateless = copy.deepcopy(results)
    del dateless["metadata"]["date"]
    for wrong, what in ((without_rows, "no rows"), (nameless, "method"), (dateless, "date")):
        with pytest.raises(ValueError, match=what):
            record.write(wrong, schema, tmp_path / "wrong.json")
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


def test_a_peer_that_is_not_there_is_said_to_be_skipped(
    measure: ModuleType, cells: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.linalg, "matrix_sqrth", raising=False)
    monkeypatch.setattr(cells.util, "find_spec", lambda name: None)
    problem = measure.Problem.random("sqrtm", 4, 2, condition=10.0, seed=0, device="cpu")
    peers = {peer.method: peer for peer in cells.peers("sqrtm")}
    for absent in ("torch.linalg.matrix_sqrth", "spd_learn"):
        assert "skipped" in measure.examine(peers[absent], problem)["status"]
