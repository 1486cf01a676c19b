"""Mean and covariance of a batch, in whatever order its channels lie in memory.

A tensor ``(N, C, *)`` is looked at as ``(B, G, c, M)``: groups of ``c`` channels at ``B * M``
positions. Where the channels of a position are neighbours in memory (channels last, or no spatial
dimension), ``B`` is 1 and every product is one over all positions; else ``B`` is ``N``.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional.collective import all_sum


class Moments(NamedTuple):
    """The statistics of a batch over all processes, and its features about their mean."""

    centered: Tensor  # (B, G, c, M)
    mean: Tensor  # (G, c)
    cov: Tensor  # (G, c, c)
    count: Tensor  # ()


def split_groups(x: Tensor, num_groups: int) -> Tensor:
    """``(N, C, *)`` as ``(B, G, c, M)``: a view, but for few positions in an awkward order."""
    N, C, *spatial = x.shape
    M, c = math.prod(spatial), C // num_groups
    if x.stride(1) == 1 or M < c:  # of few positions, the N products outweigh one copy
        return x.movedim(1, -1).reshape(N * M, num_groups, c).permute(1, 2, 0).unsqueeze(0)
    return x.reshape(N, num_groups, c, M)


def merge_groups(z: Tensor, like: Tensor) -> Tensor:
    """The inverse of :func:`split_groups`, in the memory format of ``like``."""
    N, C, *spatial = like.shape
    if z.shape[0] == N and N != 1:
        return z.reshape(like.shape)
    x = z.permute(0, 3, 1, 2).reshape(N, *spatial, C).movedim(-1, 1)
    return x if like.stride(1) == 1 else x.contiguous()


def affine(V: Tensor, z: Tensor, shift: Tensor) -> Tensor:
    """``V z + shift`` for each group, in the memory order of ``z``."""
    product = (z.mT @ V.mT).mT if z.stride(-2) == 1 else V @ z
    return product.add_(shift)  # of a tensor that no one else has seen


def products(z: Tensor, w: Tensor) -> Tensor:
    """The sum of ``z wᵀ`` over all positions, ``(G, c, c)``."""
    return (z @ w.mT).sum(0)


def moments(z: Tensor, group: str | None) -> Moments:
    r"""Mean, covariance and number of positions of ``z``, over the processes of a group.

    Each process sums about its own mean, so a large mean costs no accuracy. The sums about zero,
    in float64, then add up in one collective whatever the share of each process, none included.
    """
    count = z.new_full((), z.shape[0] * z.shape[-1])
    mean = z.sum((0, -1)) / count.clamp_min(1)
    centered = z - mean[..., None]
    scatter = products(centered, centered)
    if group is not None:
        own, wide = mean, mean.double()
        about_zero = scatter.double() + count * wide[..., :, None] * wide[..., None, :]
        packed = torch.cat([count.double()[None], (count * wide).flatten(), about_zero.flatten()])
        total = all_sum(packed, group)
        count, sums, about_zero = total.split([1, mean.numel(), scatter.numel()])
        wide = sums.view_as(mean) / count.clamp_min(1)
        outer = count * wide[..., :, None] * wide[..., None, :]
        scatter = (about_zero.view_as(scatter) - outer).to(z.dtype)
        count, mean = count[0].to(z.dtype), wide.to(z.dtype)
        centered = centered + (own - mean)[..., None]
    return Moments(centered, mean, scatter / count.clamp_min(1), count)
