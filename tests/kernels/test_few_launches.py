"""A function or a layer on a GPU is a handful of launches, counted on tensors without values.

The bounds are what was promised, forward and backward pass together; ``test_operations.py`` and its
kin hold the exact counts by the names of the operators.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.operations import as_on_a_gpu, operations
from covlayers import functional as F

FUNCTIONS = {"sqrtm": F.sqrtm, "invsqrtm": F.invsqrtm}
BY_ROWS = {2: 4, 16: 4, 33: 4, 64: 4, 65: 6, 100: 6, 128: 6, 129: 6, 256: 6, 512: 6}
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "DecorrelatedBatchNorm": (lambda: cl.DecorrelatedBatchNorm(64), (8, 64, 32, 32), 12),
    "IterNorm": (lambda: cl.IterNorm(64), (8, 64, 32, 32), 14),
    "CovPool": (lambda: cl.CovPool(256), (4, 256, 7, 7), 16),
    "ISQRTCovPool": (lambda: cl.ISQRTCovPool(256), (4, 256, 7, 7), 16),
    "MPACovPool": (lambda: cl.MPACovPool(256), (4, 256, 7, 7), 16),
}


def launches(run: Callable[..., Tensor], *shape: int) -> int:
    x = torch.empty(shape, device="meta", requires_grad=True)
    with as_on_a_gpu():
        return sum(operations(run, [x]))


@pytest.mark.parametrize("rows", BY_ROWS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_roots(name: str, rows: int) -> None:
    assert launches(FUNCTIONS[name], 4, rows, rows) <= BY_ROWS[rows]


@pytest.mark.parametrize("rows", BY_ROWS)
def test_both_roots(rows: int) -> None:
    stack = lambda A: torch.stack(F.sqrtm_and_invsqrtm(A))
    assert launches(stack, 4, rows, rows) - 2 <= BY_ROWS[rows]  # the stack and its derivative


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    build, shape, bound = LAYERS[name]
    assert launches(build().to("meta"), *shape) <= bound
