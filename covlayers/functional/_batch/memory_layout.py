"""How the channels of a batch lie in memory, and the product that suits it."""

import math
from enum import Enum, auto
from typing import NamedTuple, Self

import torch
from torch import Tensor

from covlayers.functional._base import tuning


class Order(Enum):
    """How the positions of all samples come into one product, or not.

    ``BY_ROWS``: one product over all positions, where the channels of a position are neighbours in
    memory (channels last, or no spatial dimension). ``JOINED``: one product after a copy, which
    costs less than a small product for each sample. ``BY_SAMPLES``: a product for each sample.
    """

    BY_ROWS = auto()
    JOINED = auto()
    BY_SAMPLES = auto()


class Layout(NamedTuple):
    """A tensor ``(N, C, *)`` looked at as ``G`` groups of ``c`` channels at ``B * M`` positions.

    ``B`` is ``N`` for ``BY_SAMPLES`` and 1 else.
    """

    shape: tuple[int, ...]
    num_groups: int
    order: Order

    @classmethod
    def of(cls, x: Tensor, num_groups: int) -> Self:
        """The layout of ``x``."""
        if x.stride(1) == 1:
            order = Order.BY_ROWS
        else:
            few = math.prod(x.shape[2:]) <= tuning.FEW_POSITIONS
            order = Order.JOINED if few else Order.BY_SAMPLES
        return cls(tuple(x.shape), num_groups, order)

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """``N, G, c, M``."""
        N, C, *spatial = self.shape
        return N, self.num_groups, C // self.num_groups, math.prod(spatial)

    def split(self, x: Tensor) -> Tensor:
        """``(N, C, *)`` as ``(B, G, c, M)``, a view where the memory allows it."""
        N, G, c, M = self.sizes
        if self.order is Order.BY_ROWS:
            return x.movedim(1, -1).reshape(N * M, G, c).permute(1, 2, 0).unsqueeze(0)
        grouped = x.reshape(N, G, c, M)
        if self.order is Order.BY_SAMPLES:
            return grouped
        return grouped.permute(1, 2, 0, 3).reshape(1, G, c, N * M)

    def centered(self, x: Tensor, mean: Tensor) -> Tensor:
        """``x - mean`` as ``(B, G, c, M)``, for a mean ``(G, c)``; in one pass where it copies."""
        if self.order is not Order.JOINED:
            return self.split(x) - mean[..., None]
        N, G, c, M = self.sizes
        channels = x.reshape(N, G, c, M).permute(1, 2, 0, 3)
        joined = channels.clone(memory_format=torch.contiguous_format).view(1, G, c, N * M)
        return joined.sub_(mean[..., None])

    def product(self, V: Tensor, z: Tensor) -> Tensor:
        """``V z``, transposed by rows: ``(B, G, k, M)`` or ``(1, G, M, k)``."""
        return z.mT @ V.mT if self.order is Order.BY_ROWS else V @ z

    def add_product(self, total: Tensor, V: Tensor, z: Tensor) -> Tensor:
        """A product, added to another of its shape in place."""
        first, second = (z.mT, V.mT) if self.order is Order.BY_ROWS else (V, z)
        batch = total.shape[:2]
        matrices = [m.expand(*batch, -1, -1).flatten(0, 1) for m in (first, second)]
        total.flatten(0, 1).baddbmm_(*matrices)
        return total

    def like_product(self, z: Tensor) -> Tensor:
        """``z``, transposed by rows; its own inverse."""
        return z.mT if self.order is Order.BY_ROWS else z

    def merge(self, product: Tensor) -> Tensor:
        """A product as ``(N, C, *)``, contiguous or channels last as the tensor was."""
        N, G, c, M = self.sizes
        if self.order is Order.BY_SAMPLES:
            return product.reshape(self.shape).contiguous()
        if self.order is Order.JOINED:
            return product.view(G * c, N, M).transpose(0, 1).reshape(self.shape).contiguous()
        rows = product.view(G, N * M, c).transpose(0, 1).reshape(N, *self.shape[2:], G * c)
        return rows.movedim(-1, 1) if len(self.shape) > 2 else rows


def like_format(y: Tensor, x: Tensor) -> Tensor:
    """``y``, contiguous or channels last as ``x``, of the same shape, is."""
    if x.stride(1) == 1 and x.dim() > 2:
        return y.movedim(1, -1).contiguous().movedim(-1, 1)
    return y.contiguous()
