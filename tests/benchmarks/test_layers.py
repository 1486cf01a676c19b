"""The benchmark of the layers keeps what the layers promise: memory, and whiteness where stated."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
EXACT = ("DecorrelatedBatchNorm", "DecorrelatedBatchNorm cholesky")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("results") / "tiny.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        layers = importlib.import_module("layers")
        patch.setattr(layers, "SHAPES", ((16, 64, 24, 24),))
        layers.main(["--device", "cpu", "--min-time", "0.001", "--output", str(path)])
    return json.loads(path.read_text())["rows"]


def test_every_layer_has_a_row_in_every_format(rows) -> None:
    names = [row["layer"] for row in rows]
    assert {names.count(name) for name in names} == {2}
    assert all(row["time_ms"] > 0 for row in rows)
    assert {row["relative"] for row in rows if row["layer"] == "textbook"} == {1}


def test_batch_whitening_keeps_the_input_and_small_matrices(rows) -> None:
    for row in rows:
        if row["layer"].startswith("DecorrelatedBatchNorm"):
            assert row["kept_over_input"] <= 1.1
        if row["layer"] in EXACT:
            assert row["whiteness"] < 0.05  # eps counts where the variance is small
