"""Mean and covariance of a batch, over all processes."""

from typing import TypeAlias

import torch
from torch import Tensor

from covlayers.functional._batch.collective import all_sum
from covlayers.functional._batch.memory_layout import Layout, Order

FEW = 64  # positions whose mean one call gives to two roundings; more positions would add to them

Statistics: TypeAlias = tuple[Tensor, Tensor, int | Tensor]
"""Mean ``(G, c, 1)``, covariance ``(G, c, c)`` and number of positions, over all processes."""


def moments(x: Tensor, layout: Layout, group: str | None) -> tuple[Tensor, Statistics]:
    """``x (N, C, *)`` about its mean, ``(K, c, M)`` as the layout has it, and its statistics."""
    n = layout.N * layout.M
    if layout.order is Order.JOINED and 0 < n <= FEW:
        z = layout.joined(x)
        own = z.sum(-1, keepdim=True).div_(n)
        centered = z.sub_(own)
    else:
        own = mean_of_sums(x).view(layout.G, layout.c, 1)
        centered = layout.centered(x, own)
    scatter = layout.total(gram(centered))
    if group is None:
        return centered, (own, scatter.div_(max(n, 1)), n)
    count, mean, cov = joint_moments(x.new_full((), n), own.squeeze(-1), scatter, group)
    mean = mean.unsqueeze(-1)
    return centered + layout.each(own - mean), (mean, cov, count)


def mean_of_sums(x: Tensor) -> Tensor:
    """The mean ``(C,)`` of ``x (N, C, *)``, nearly rounded once: samples add up in float64."""
    wide = x.dtype if x.device.type == "mps" else torch.float64  # which MPS has not
    positions = tuple(range(2, x.dim()))
    sums = x.sum(positions) if positions else x
    n = max(x.numel() // max(x.shape[1], 1), 1)
    return (sums.sum(0, dtype=wide) / n).to(x.dtype)


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


def gram(z: Tensor) -> Tensor:
    """``z zᵀ``; of long rows on a CPU three blocks of four, as the fourth is one transposed."""
    n, M = z.shape[-2:]
    if z.device.type != "cpu" or n < 32 or 4 * n > M:
        return z.bmm(z.mT)
    above, below = z.tensor_split(2, -2)
    top, corner = above @ z.mT, below @ below.mT
    return torch.cat([top, torch.cat([top[..., above.shape[-2] :].mT, corner], -1)], -2)
