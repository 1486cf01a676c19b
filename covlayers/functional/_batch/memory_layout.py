"""How the channels of a batch lie in memory, and the product that suits it."""

import math
from enum import Enum, auto
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.function import compiling, differentiable

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


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
    channels_last: bool  # in what format merge gives the tensor back

    @classmethod
    def of(cls, x: Tensor, num_groups: int, join: bool = True) -> Self:
        """The layout of ``x``; ``JOINED`` only if told to, as for one product it does not pay."""
        shape = tuple(x.shape)
        M = math.prod(shape[2:])
        if x.stride(1) == 1:
            order = Order.BY_ROWS
        else:
            order = Order.JOINED if join and M <= tuning.FEW_POSITIONS else Order.BY_SAMPLES
        last = order is Order.BY_ROWS and channels_last(x)
        return cls(shape, order, shape[0], num_groups, shape[1] // num_groups, M, last)

    def split(self, x: Tensor) -> Tensor:
        """``x`` as matrices, a view where the memory allows it."""
        if self.order is Order.BY_ROWS:
            return x.movedim(1, -1).reshape(self.N * self.M, self.G, self.c).permute(1, 2, 0)
        if self.order is Order.BY_SAMPLES:
            return x.reshape(self.N * self.G, self.c, self.M)
        return x.transpose(0, 1).reshape(self.G, self.c, self.N * self.M)

    def centered(self, x: Tensor, mean: Tensor) -> Tensor:
        """``x - mean`` as matrices, for a mean ``(G, c, 1)``; in one pass where they are a copy."""
        if self.order is not Order.JOINED:
            return self.split(x) - self.each(mean)
        return self.joined(x).sub_(mean)

    def joined(self, x: Tensor) -> Tensor:
        """``x`` as matrices ``(G, c, N M)``, always a copy."""
        copy = x.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        return copy.view(self.G, self.c, self.N * self.M)

    def column(self, v: Tensor, dtype: torch.dtype) -> Tensor:
        """A vector ``(C,)`` as ``(G, c, 1)``, in a dtype."""
        return (v if v.dtype == dtype else v.to(dtype)).view(self.G, self.c, 1)

    def each(self, V: Tensor) -> Tensor:
        """Matrices ``(G, k, c)`` as one for each of ``K``, or as one that broadcasts to all."""
        if self.order is not Order.BY_SAMPLES or self.G == 1:
            return V
        return V.expand(self.N, *V.shape).reshape(self.N * self.G, *V.shape[1:])

    def total(self, products: Tensor) -> Tensor:
        """The sum over samples of ``(K, c, c)``: ``(G, c, c)``."""
        if self.order is not Order.BY_SAMPLES:
            return products
        return products.view(self.N, self.G, *products.shape[1:]).sum(0)

    def affine(self, V: Tensor, z: Tensor, shift: Tensor | None, factor: float = 1.0) -> Tensor:
        """``V z + factor shift``, ``V (G, c, c)``, ``shift (G, c, 1)``; transposed ``BY_ROWS``."""
        left, right = self._factors(V, z)
        product = left.bmm(right)
        if shift is not None:
            shift = self.each(shift)
            product.add_(shift.mT if self.order is Order.BY_ROWS else shift, alpha=factor)
        return product

    def add_product(self, total: Tensor, V: Tensor, z: Tensor, factor: float) -> Tensor:
        """``factor V z``, added in place to what :meth:`affine` gave."""
        return total.baddbmm_(*self._factors(V, z), alpha=factor)

    def _factors(self, V: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        if self.order is Order.BY_ROWS:
            return z.mT, V.mT
        return self.each(V).expand(z.shape[0], -1, -1), z

    def merge(self, product: Tensor) -> Tensor:
        """A product as ``(N, C, *)``, with the strides that a BatchNorm of PyTorch gives."""
        in_order = self.N == 1 or self.G * self.c == 1  # joined or not
        if self.order is Order.BY_SAMPLES or (self.order is Order.JOINED and in_order):
            return product.reshape(self.shape)
        if self.order is Order.JOINED:
            joined = product.view(self.G * self.c, self.N, *self.shape[2:])
            return joined.transpose(0, 1).contiguous()
        rows = product.transpose(0, 1).reshape(self.N * self.M, self.G * self.c).contiguous()
        if self.M == 1 and not self.channels_last:
            return rows.view(self.shape)
        y = rows.view(self.N, *self.shape[2:], self.G * self.c).movedim(-1, 1)
        return y if self.channels_last else y.contiguous()


def channels_last(x: Tensor) -> bool:
    """Whether ``x (N, C, *)`` is taken to be channels last, as PyTorch's own norms take it."""
    if x.stride(1) != 1 or x.dim() not in _CHANNELS_LAST or x.is_contiguous():
        return False
    return x.is_contiguous(memory_format=_CHANNELS_LAST[x.dim()])


def like_format(y: Tensor, x: Tensor) -> Tensor:
    """``y`` in the memory format of ``x``, contiguous or channels last; both of one shape."""
    return _in_format(y, channels_last(x))


def formatted_empty(x: Tensor) -> Tensor:
    """Memory for a result of the shape and dtype of ``x``, contiguous or channels last as it is."""
    if channels_last(x):
        return torch.empty_like(x, memory_format=_CHANNELS_LAST[x.dim()])
    return x.new_empty(x.shape)


def _in_format(y: Tensor, last: bool) -> Tensor:
    if last:
        return y.movedim(1, -1).contiguous().movedim(-1, 1)
    return y.reshape(-1).view(y.shape)  # strides of dimensions of size 1 included


class _Formatted:
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> tuple[()]:
        ctx.last = channels_last(inputs[0])
        return ()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _in_format(grad, ctx.last)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return tangent.view_as(tangent)


_formatted = differentiable(_Formatted)


def formatted_gradient(x: Tensor) -> Tensor:
    """``x (N, C, *)``, whose gradient will have its memory format, whatever is done with it.

    The compiler, which chooses the formats in its own graphs, is left alone.
    """
    if not (torch.is_grad_enabled() and x.requires_grad) or compiling():
        return x
    formatted: Tensor = _formatted(x)
    return formatted
