r"""What a whitening of a batch cannot do without: its four large products.

They are :math:`z z^\top` and :math:`W z` forward, :math:`g z^\top` and :math:`W^\top g` backward,
for each group of channels. Nothing is centred, copied or transposed: the memory of the features is
taken as if it already lay as the products like it best.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import milliseconds
from benchmarks.training_step import step


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
        cov = (z @ z.mT).sum(0)
        ctx.save_for_backward(z, W)
        ctx.mark_non_differentiable(cov)
        return W @ z, cov

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
        z, W = ctx.saved_tensors
        return W.mT @ grad, (grad @ z.mT).sum(0)


class FourProducts(nn.Module):
    """The products, on ``batches`` of positions."""

    def __init__(self, channels: int, group_size: int, batches: int) -> None:
        super().__init__()
        self.batches = batches
        self.weight = nn.Parameter(torch.eye(group_size).repeat(channels // group_size, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        memory = x.movedim(1, -1) if x.stride(1) == 1 else x
        z = memory.reshape(self.batches, *self.weight.shape[:2], -1)
        return _Products.apply(z, self.weight)[0]


def four_products(x: Tensor, group_size: int, seconds: float) -> nn.Module:
    """The faster of one product a sample and one of all samples."""
    candidates = [
        FourProducts(x.shape[1], group_size, batches).to(x.device) for batches in (x.shape[0], 1)
    ]
    steps = [partial(step, candidate, x.requires_grad_()) for candidate in candidates]
    times = milliseconds(steps, seconds)
    return candidates[times.index(min(times))]
