"""The benchmark of style transfer has every layer beside plain eigh; the exact ones agree."""

from typing import Any

import pytest

SHAPES = ((2, 32, 12, 12), (1, 48, 12, 12))


@pytest.fixture(scope="module")
def rows(measured) -> list[dict[str, Any]]:
    return measured("style", SHAPES=SHAPES)["rows"]


@pytest.mark.parametrize("size", SHAPES)
def test_every_size_has_its_baselines(rows: list[dict[str, Any]], size: tuple[int, ...]) -> None:
    own = {row["layer"]: row for row in rows if row["shape"] == [2 * size[0], *size[1:]]}
    assert own["eigh + autograd"]["relative"] == 1
    assert {"textbook", "WhiteningColoring", "AdaIN"} < own.keys()
    assert all(row["time_ms"] > 0 and row["peak_over_input"] > 0 for row in own.values())


def test_exact_layers_give_the_covariance_of_the_style(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        exact = row["layer"] in ("eigh + autograd", "textbook", "WhiteningColoring")
        assert row["moments"] < (0.05 if exact else 2)


def test_no_copies_are_kept(rows: list[dict[str, Any]]) -> None:
    for size in {tuple(row["shape"]) for row in rows}:
        kept = {row["layer"]: row["kept_over_input"] for row in rows if tuple(row["shape"]) == size}
        assert kept["WhiteningColoring"] < kept["textbook"]
