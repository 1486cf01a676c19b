"""The benchmark of the heads has every head beside an average and beside plain eigh."""

from typing import Any

import pytest

SHAPES = {"FEATURES": (2, 32, 6, 6), "TOKENS": (2, 1 + 9, 48), "CLIPS": (2, 3, 32, 4, 4)}


@pytest.fixture(scope="module")
def rows(measured) -> list[dict[str, Any]]:
    return measured("heads", **SHAPES)["rows"]


@pytest.mark.parametrize("group", ["features", "tokens", "clips"])
def test_every_group_has_its_baselines(rows: list[dict[str, Any]], group: str) -> None:
    own = {row["layer"]: row for row in rows if row["group"] == group}
    assert own["eigh + autograd"]["relative"] == 1
    assert any(name.startswith(("average", "class token")) for name in own)
    assert all(row["time_ms"] > 0 and row["peak_over_input"] > 0 for row in own.values())


def test_no_matrix_of_positions_by_positions_is_kept(rows: list[dict[str, Any]]) -> None:
    kept = {row["layer"]: row["kept_over_input"] for row in rows if row["group"] == "features"}
    # the input itself and a few matrices of C by C, which here are as large as the input
    assert kept["CovPool"] < kept["textbook iSQRT-COV"] / 2


def test_a_quick_run_has_the_first_group_only(script) -> None:
    (group,) = script("heads").groups("cpu", True)
    assert {"CovPool", "textbook MPA", "textbook iSQRT-COV"} < group.modules.keys()
