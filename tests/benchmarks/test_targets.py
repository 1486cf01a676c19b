"""Every promise of the release is measured, and judged by its ratio and by its errors."""

from typing import Any

import pytest


@pytest.fixture(scope="module")
def rows(measured) -> list[dict[str, Any]]:
    return measured(
        "targets", BATCHES={8: 2, 64: 1}, LAYERS=(((4, 8, 6, 6), 4),), POOLED=(2, 8, 5, 5)
    )["rows"]


def test_every_promise_has_a_row(rows: list[dict[str, Any]]) -> None:
    promised = {(row["what"].split(",")[0].split(" ")[0], row["against"]) for row in rows}
    assert promised == {
        ("sqrtm", "torch.linalg.matrix_sqrth"),
        ("sqrtm", "spd_learn"),
        ("invsqrtm", "published MPA, 8 sign steps"),
        ("DecorrelatedBatchNorm", "textbook IterNorm"),
        ("DecorrelatedBatchNorm", "its four products"),
        ("DecorrelatedBatchNorm", "its input"),
        ("ISQRTCovPool", "textbook iSQRT-COV"),
        ("MPACovPool", "textbook MPA"),
    }
    inverse = {row["what"]: row["promised"] for row in rows if row["what"].startswith("inv")}
    assert [*inverse.values()] == [1.2, 0.55]


@pytest.mark.parametrize(
    ("time", "peer", "error", "holds"),
    [
        (1.0, 2.0, 1e-5, True),
        (3.0, 2.0, 1e-5, False),
        (1.0, 2.0, 1e-3, False),
        (1.0, None, 0, None),
    ],
)
def test_a_promise_needs_its_time_and_its_errors(
    script, time: float, peer: float | None, error: float, holds: bool | None
) -> None:
    targets = script("targets")
    own = {"time_ms": time, "time_iqr_ms": 0.0, "value_error": error, "gradient_error": error}
    other = {"time_ms": peer, "time_iqr_ms": None}
    row = targets.promise("a", "b", own, other, 1.0, bounds=(1e-4, 1e-4))
    assert row["holds"] is holds
    assert {True: "holds", False: "misses", None: "skipped"}[holds] in targets.line(row)


def test_an_error_that_is_not_finite_breaks_a_promise(script) -> None:
    own = {"time_ms": 1.0, "time_iqr_ms": 0.0, "value_error": None, "gradient_error": 0.0}
    row = script("targets").promise("a", "b", own, own, 1.0, bounds=(1e-4, 1e-4))
    assert row["holds"] is False
