"""The benchmark of the layers keeps what the layers promise: memory, and whiteness where stated."""

from typing import Any

import pytest
import torch

EXACT = ("DecorrelatedBatchNorm", "DecorrelatedBatchNorm cholesky")


@pytest.fixture(scope="module")
def rows(measured) -> list[dict[str, Any]]:
    return measured("layers", CASES=(((16, 64, 24, 24), 64),), FLOOR_S=1e-3)["rows"]


def test_every_layer_has_a_row_in_every_format(rows: list[dict[str, Any]]) -> None:
    names = [row["layer"] for row in rows]
    assert {names.count(name) for name in names} == {2}
    assert all(row["time_ms"] > 0 for row in rows)
    assert {row["relative"] for row in rows if row["layer"] == "textbook"} == {1}
    assert "its four products" in names


def test_batch_whitening_keeps_the_input_and_small_matrices(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row["layer"].startswith("DecorrelatedBatchNorm"):
            assert row["kept_over_input"] <= 1.1
        if row["layer"] in EXACT:
            assert row["whiteness"] < 0.05  # eps counts where the variance is small


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("batches", [1, 3])
def test_the_four_products_multiply_all_of_the_memory(
    script, memory_format: torch.memory_format, batches: int
) -> None:
    x = torch.randn(3, 8, 2, 2).contiguous(memory_format=memory_format).requires_grad_()
    layer = script("floor").FourProducts(8, 4, batches)
    y = layer(x)
    assert y.shape == (batches, 2, 4, 12 // batches)
    gx, gW = torch.autograd.grad(y, [x, layer.weight], 2 * torch.ones_like(y))
    torch.testing.assert_close(gx, torch.full_like(x, 2))
    torch.testing.assert_close(gW.sum(), 8 * x.sum())
