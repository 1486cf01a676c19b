"""Sums and moments over the processes of a group: differentiable to any order, also compiled."""

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


def joint_moments(
    count: Tensor, mean: Tensor, scatter: Tensor, group: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Count, mean and covariance over all processes of a group, from each process's own.

    Each process sums about its own mean, so a large mean costs no accuracy. The sums about zero,
    in float64, then add up in one collective whatever the share of each process, none included.

    Args:
        count: number of positions of this process, a scalar.
        mean: their mean ``(G, c)``.
        scatter: the sum of their squares about it, ``(G, c, c)``.
        group: name of the process group, None for this process alone.
    """
    if group is not None:
        wide = mean.double()
        about_zero = scatter.double() + count * outer(wide)
        packed = torch.cat([count.double()[None], (count * wide).flatten(), about_zero.flatten()])
        n, sums, squares = all_sum(packed, group).split([1, mean.numel(), scatter.numel()])
        n = n.detach()  # nothing changes a count, but it was summed with what has a graph
        wide = sums.view_as(mean) / n.clamp_min(1)
        scatter = (squares.view_as(scatter) - n * outer(wide)).to(scatter.dtype)
        count, mean = n[0].to(count.dtype), wide.to(mean.dtype)
    return count, mean, scatter / count.clamp_min(1)


def outer(v: Tensor) -> Tensor:
    """``v vᵀ``."""
    return v[..., :, None] * v[..., None, :]
