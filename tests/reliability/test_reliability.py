"""What is promised holds, in the quick form of every area."""

import pytest
from reliability import AREAS, rows_of


@pytest.mark.parametrize("area", AREAS)
def test_everything_that_is_promised_holds(area: str) -> None:
    rows = [*rows_of(area, quick=True)]
    assert rows
    assert all(row.tried for row in rows), [row.what for row in rows if not row.tried]
    assert {row.what: row.failures for row in rows if row.held != row.tried} == {}
