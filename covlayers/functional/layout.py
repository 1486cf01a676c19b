"""How the channels of a batch lie in memory, and the product that suits it."""

import math
from typing import NamedTuple, Self

from torch import Tensor


class Layout(NamedTuple):
    """A tensor ``(N, C, *)`` looked at as groups of ``c`` channels at ``B * M`` positions.

    By rows, that is where the channels of a position are neighbours in memory (channels last, or no
    spatial dimension), ``B`` is 1 and a product is one over all positions; else ``B`` is ``N``. Few
    positions are brought into rows, as ``N`` products would outweigh one copy.
    """

    shape: tuple[int, ...]
    num_groups: int
    by_rows: bool
    channels_last: bool

    @classmethod
    def of(cls, x: Tensor, num_groups: int) -> Self:
        """The layout of ``x``."""
        scarce = x.shape[1] // num_groups > math.prod(x.shape[2:])
        neighbours = x.stride(1) == 1
        return cls(tuple(x.shape), num_groups, neighbours or scarce, neighbours and x.dim() > 2)

    def split(self, x: Tensor) -> Tensor:
        """``(N, C, *)`` as ``(B, G, c, M)``, a view where the memory allows it."""
        N, C, *spatial = self.shape
        M, G = math.prod(spatial), self.num_groups
        if self.by_rows:
            rows = x.movedim(1, -1).reshape(N * M, G, C // G)
            return rows.permute(1, 2, 0).unsqueeze(0)
        return x.reshape(N, G, C // G, M)

    def product(self, V: Tensor, z: Tensor) -> Tensor:
        """``V z``, transposed by rows: ``(B, G, k, M)`` or ``(1, G, M, k)``."""
        return z.mT @ V.mT if self.by_rows else V @ z

    def like_product(self, z: Tensor) -> Tensor:
        """``z``, transposed by rows; its own inverse."""
        return z.mT if self.by_rows else z

    def merge(self, product: Tensor) -> Tensor:
        """A product as ``(N, C, *)``, contiguous or channels last as the tensor was."""
        if not self.by_rows:
            return product.reshape(self.shape)
        N, C, *spatial = self.shape
        x = product.permute(0, 2, 1, 3).reshape(N, *spatial, C).movedim(-1, 1)
        return x if self.channels_last else x.contiguous()


def like_format(y: Tensor, x: Tensor) -> Tensor:
    """``y``, contiguous or channels last as ``x``, of the same shape, is."""
    if x.stride(1) == 1 and x.dim() > 2:
        return y.movedim(1, -1).contiguous().movedim(-1, 1)
    return y.contiguous()
