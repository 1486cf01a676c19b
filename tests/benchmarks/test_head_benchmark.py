"""The benchmark of the heads has every head beside an average and beside plain eigh."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SHAPES = {"FEATURES": (2, 32, 6, 6), "TOKENS": (2, 1 + 9, 48), "CLIPS": (2, 3, 32, 4, 4)}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("results") / "tiny.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        heads = importlib.import_module("heads")
        for name, shape in SHAPES.items():
            patch.setattr(heads, name, shape)
        heads.main(["--device", "cpu", "--min-time", "0.001", "--output", str(path)])
    return json.loads(path.read_text())["rows"]


@pytest.mark.parametrize("group", ["features", "tokens", "clips"])
def test_every_group_has_its_baselines(rows: list[dict[str, Any]], group: str) -> None:
    own = {row["layer"]: row for row in rows if row["group"] == group}
    assert own["eigh + autograd"]["relative"] == 1
    assert any(name.startswith(("average", "class token")) for name in own)
    assert all(row["time_ms"] > 0 and row["peak_over_input"] > 0 for row in own.values())


def test_no_matrix_of_positions_by_positions_is_kept(rows: list[dict[str, Any]]) -> None:
    kept = {row["layer"]: row["kept_over_input"] for row in rows if row["group"] == "features"}
    # the input itself and a few matrices of C by C, which here are as large as the input
    assert kept["CovPool"] < kept["iSQRT-COV, M x M centring, unrolled"] / 2
