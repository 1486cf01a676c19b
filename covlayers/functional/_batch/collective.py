"""The sum over the processes of a group: differentiable to any order, eager and compiled."""

from typing import Any

import torch
from torch import Tensor


def all_sum(x: Tensor, group: str | None) -> Tensor:
    """The sum of ``x`` over the processes of the group of that name; ``x`` itself for None.

    The loss is the sum of what the processes compute, so the gradient is summed over them too.
    """
    return x if group is None else _AllSum.apply(x, group)


class _AllSum(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, group: str) -> Tensor:
        # Needed only where there are processes, and absent from some builds of torch.
        from torch.distributed import _functional_collectives as collectives

        total = collectives.all_reduce(x.contiguous(), "sum", group)  # type: ignore[arg-type]  # takes a name too
        return collectives.wait_tensor(total)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return all_sum(grad, ctx.group), None
