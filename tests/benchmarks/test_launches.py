"""Every case of the benchmark of launches has its row."""

from typing import Any


def test_every_case_has_a_row(measured: Any) -> None:
    sizes = {"MATRICES": ((2, 4),), "SHAPES": ((4, 8, 5, 5),)}
    rows = measured("launches", "--quick", **sizes)["rows"]
    assert len(rows) == 2 + 7
    assert all(row["wall_ms"] > 0 and row["launches"] is None for row in rows)
