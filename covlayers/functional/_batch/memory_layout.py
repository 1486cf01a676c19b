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
    """A tensor ``(N, C, *)`` looked at as matrices ``(K, c, M)``: channels of a group, positions.

    ``K`` counts the groups; ``BY_SAMPLES`` it counts the groups of all samples.
    """

    shape: tuple[int, ...]
    order: Order
    N: int
    G: int  # groups
    c: int  # channels of each
    M: int  # positions of a sample

    @classmethod
    def of(cls, x: Tensor, num_groups: int) -> Self:
        """The layout of ``x``."""
        shape = tuple(x.shape)
        M = math.prod(shape[2:])
        if x.stride(1) == 1:
            order = Order.BY_ROWS
        else:
            order = Order.JOINED if M <= tuning.FEW_POSITIONS else Order.BY_SAMPLES
        return cls(shape, order, shape[0], num_groups, shape[1] // num_groups, M)

    def split(self, x: Tensor) -> Tensor:
        """``x`` as matrices, a view where the memory allows it."""
        if self.order is Order.BY_ROWS:
            return x.movedim(1, -1).reshape(self.N * self.M, self.G, self.c).permute(1, 2, 0)
        if self.order is Order.BY_SAMPLES:
            return x.reshape(self.N * self.G, self.c, self.M)
        grouped = x.reshape(self.N, self.G, self.c, self.M).permute(1, 2, 0, 3)
        return grouped.reshape(self.G, self.c, self.N * self.M)

    def centered(self, x: Tensor, mean: Tensor) -> Tensor:
        """``x - mean`` as matrices, for a mean ``(G, c, 1)``; in one pass where they are a copy."""
        if self.order is not Order.JOINED:
            return self.split(x) - self.each(mean)
        return self.joined(x).sub_(mean)

    def joined(self, x: Tensor) -> Tensor:
        """``x`` as matrices ``(G, c, N M)``, always a copy."""
        grouped = x.reshape(self.N, self.G, self.c, self.M).permute(1, 2, 0, 3)
        copy = grouped.clone(memory_format=torch.contiguous_format)
        return copy.view(self.G, self.c, self.N * self.M)

    def column(self, v: Tensor, dtype: torch.dtype) -> Tensor:
        """A vector ``(C,)`` as ``(G, c, 1)``, in a dtype."""
        return (v if v.dtype == dtype else v.to(dtype)).view(self.G, self.c, 1)

    def each(self, V: Tensor) -> Tensor:
        """Matrices ``(G, k, c)`` as one for each of ``K``."""
        if self.order is not Order.BY_SAMPLES:
            return V
        return V.expand(self.N, *V.shape).reshape(self.N * self.G, *V.shape[1:])

    def total(self, products: Tensor) -> Tensor:
        """The sum over samples of ``(K, c, c)``: ``(G, c, c)``."""
        if self.order is not Order.BY_SAMPLES:
            return products
        return products.view(self.N, self.G, *products.shape[1:]).sum(0)

    def affine(self, V: Tensor, z: Tensor, shift: Tensor | None) -> Tensor:
        """``V z + shift`` for ``V (G, c, c)``, ``shift (G, c, 1)``; transposed ``BY_ROWS``."""
        V, by_rows = self.each(V), self.order is Order.BY_ROWS
        product = z.mT.bmm(V.mT) if by_rows else V.bmm(z)
        if shift is not None:
            shift = self.each(shift)
            product.add_(shift.mT if by_rows else shift)
        return product

    def add_product(self, total: Tensor, V: Tensor, z: Tensor) -> Tensor:
        """``V z``, added in place to what :meth:`affine` gave."""
        V = self.each(V)
        return total.baddbmm_(*((z.mT, V.mT) if self.order is Order.BY_ROWS else (V, z)))

    def merge(self, product: Tensor) -> Tensor:
        """A product as ``(N, C, *)``, contiguous or channels last as the tensor was."""
        if self.order is Order.BY_SAMPLES:
            return product.reshape(self.shape)
        if self.order is Order.JOINED:
            joined = product.view(self.G * self.c, self.N, self.M)
            return joined.transpose(0, 1).reshape(self.shape).contiguous()
        rows = product.transpose(0, 1).reshape(self.N, *self.shape[2:], self.G * self.c)
        return rows.movedim(-1, 1) if len(self.shape) > 2 else rows


def like_format(y: Tensor, x: Tensor) -> Tensor:
    """``y`` in the memory format of ``x``, contiguous or channels last; both of one shape."""
    if x.stride(1) == 1 and x.dim() > 2:
        return y.movedim(1, -1).contiguous().movedim(-1, 1)
    return y.contiguous()
