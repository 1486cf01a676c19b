"""The price of a call: what counts as an operation, and that every layer is counted and timed."""

from typing import Any

import pytest
import torch
from torch import nn

from covlayers import functional as F
from covlayers import modules


@pytest.fixture(scope="module")
def rows(measured) -> list[dict[str, Any]]:
    return measured("overhead", BLOCK_S=1e-4)["rows"]


def test_every_layer_is_counted_and_timed(rows: list[dict[str, Any]]) -> None:
    layers = {name for name in modules.__all__ if issubclass(getattr(modules, name), nn.Module)}
    for part in ("operations", "times"):
        assert layers <= {row["what"] for row in rows if row["part"] == part}


def test_every_target_stands_beside_its_ratio(script, rows: list[dict[str, Any]]) -> None:
    aimed = {(row["what"], row["step"]): row["at_most"] for row in rows if row["at_most"]}
    assert aimed == script("overhead").TARGETS
    assert all(row["ratio"] > 0 for row in rows if row["part"] == "times")


def test_views_and_allocations_are_no_operations(script) -> None:
    operations = script("operations").operations
    A = torch.eye(3).repeat(2, 1, 1).requires_grad_()
    # eigh, clamp, sqrt, scaled columns, product
    assert operations(script("by_hand").root, [A])[0] == 5
    assert operations(lambda x: x.mT.flatten(1)[:, :4] * 2, [A])[0] == 2  # a copy, a product


def test_an_operator_counts_as_its_kernels(script) -> None:
    count = script("operations")
    A = torch.empty(2, 8, 8, device="meta", requires_grad=True)
    plain = count.operations(F.sqrtm, [A])
    with count.as_on_a_gpu():
        fused = count.operations(F.sqrtm, [A])
        with count.Operations() as seen:
            F.sqrtm(A)
    assert seen.counts["covlayers::roots"] == 2  # all steps, and what mends
    assert sum(fused) < sum(plain)


def test_a_turn_is_one_block_of_each(script) -> None:
    calls: list[int] = []
    best = script("overhead").fastest([lambda: calls.append(0), lambda: calls.append(1)], 1e-3)
    assert all(0 < us < 1e3 for us in best)
    assert calls.count(0) > 10 < calls.count(1)
