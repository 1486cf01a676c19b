"""What is promised holds, in the quick form of every area; the page shows the full form of each."""

import json

import pytest

from tests.reliability.reliability import AREAS, ROOT, rows_of

PAGE = json.loads((ROOT / "docs" / "reliability.json").read_text())


@pytest.mark.parametrize("area", AREAS)
def test_everything_that_is_promised_holds(area: str) -> None:
    rows = [*rows_of(area, quick=True)]
    assert rows
    assert all(row.tried for row in rows), [row.what for row in rows if not row.tried]
    assert {row.what: row.failures for row in rows if row.held != row.tried} == {}
    shown = [row for row in PAGE["rows"] if row["area"] == rows[0].area]
    assert len(shown) >= len(rows), "make reliability writes the page"
    assert sum(row["tried"] for row in shown) >= sum(row.tried for row in rows)


def test_the_page_is_of_a_full_run_in_which_everything_held() -> None:
    assert "--quick" not in PAGE["metadata"]["command"]
    assert "--areas" not in PAGE["metadata"]["command"]
    assert [row["what"] for row in PAGE["rows"] if row["held"] != row["tried"]] == []
