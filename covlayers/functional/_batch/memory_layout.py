"""How the channels of a batch lie in memory, and the product that suits it."""

import math
from typing import NamedTuple, Self

import torch
from einops import rearrange
from torch import Tensor

BY_ROWS = "1 g (n m) c"
JOINED = "1 g c (n m)"
BY_SAMPLES = "n g c m"

FEW = 256
"""So many positions of a sample are joined with those of the others."""


class Layout(NamedTuple):
    """A tensor ``(N, C, *)`` looked at as groups of ``c`` channels at ``B * M`` positions.

    - By rows, where the channels of a position are neighbours in memory (channels last, or no
      spatial dimension): ``B`` is 1, and a product is one over all positions.
    - Joined, where a sample has few positions: the same after a copy, which costs less than
      ``N`` small products.
    - By samples else: ``B`` is ``N``.
    """

    shape: tuple[int, ...]
    num_groups: int
    order: str
    channels_last: bool

    @classmethod
    def of(cls, x: Tensor, num_groups: int) -> Self:
        """The layout of ``x``."""
        neighbours = x.stride(1) == 1
        few = math.prod(x.shape[2:]) <= FEW
        order = BY_ROWS if neighbours else JOINED if few else BY_SAMPLES
        return cls(tuple(x.shape), num_groups, order, neighbours and x.dim() > 2)

    def split(self, x: Tensor) -> Tensor:
        """``(N, C, *)`` as ``(B, G, c, M)``, a view where the memory allows it."""
        positions = x.unsqueeze(-1).flatten(2)
        return self.like_product(
            rearrange(positions, f"n (g c) m -> {self.order}", g=self.num_groups)
        )

    def centered(self, x: Tensor, mean: Tensor) -> Tensor:
        """``x - mean`` as ``(B, G, c, M)``, for a mean ``(G, c)``; in one pass where it copies."""
        if self.order != JOINED:
            return self.split(x) - mean[..., None]
        positions = x.unsqueeze(-1).flatten(2)
        channels = positions.unflatten(1, mean.shape).permute(1, 2, 0, 3)
        joined = channels.clone(memory_format=torch.contiguous_format).flatten(2)
        return joined.sub_(mean[..., None]).unsqueeze(0)

    def product(self, V: Tensor, z: Tensor) -> Tensor:
        """``V z``, transposed by rows: ``(B, G, k, M)`` or ``(1, G, M, k)``."""
        return z.mT @ V.mT if self.order == BY_ROWS else V @ z

    def add_product(self, total: Tensor, V: Tensor, z: Tensor) -> Tensor:
        """A product, added to another of its shape in place."""
        first, second = (z.mT, V.mT) if self.order == BY_ROWS else (V, z)
        batch = total.shape[:2]
        matrices = (m.expand(*batch, -1, -1).flatten(0, 1) for m in (first, second))
        total.flatten(0, 1).baddbmm_(*matrices)
        return total

    def like_product(self, z: Tensor) -> Tensor:
        """``z``, transposed by rows; its own inverse."""
        return z.mT if self.order == BY_ROWS else z

    def merge(self, product: Tensor) -> Tensor:
        """A product as ``(N, C, *)``, contiguous or channels last as the tensor was."""
        N, C, *spatial = self.shape
        sizes = {"n": N, "m": math.prod(spatial)}
        if self.channels_last:
            rows = rearrange(product, f"{self.order} -> n m (g c)", **sizes)
            return rows.reshape(N, *spatial, C).movedim(-1, 1)
        channels = rearrange(product, f"{self.order} -> n (g c) m", **sizes)
        return channels.reshape(self.shape).contiguous()


def like_format(y: Tensor, x: Tensor) -> Tensor:
    """``y``, contiguous or channels last as ``x``, of the same shape, is."""
    if x.stride(1) == 1 and x.dim() > 2:
        return y.movedim(1, -1).contiguous().movedim(-1, 1)
    return y.contiguous()
