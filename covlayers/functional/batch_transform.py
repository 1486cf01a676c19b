r"""Normalise a batch by a matrix function of its own covariance.

.. math:: y = \operatorname{diag}(\gamma)\, W (x - \mu) + \beta, \qquad W = T(\Sigma), \quad
          \Sigma = \tfrac1n \sum (x - \mu)(x - \mu)^\top

over :math:`n` positions, for each group of channels. With
:math:`V = \operatorname{diag}(\gamma) W`, :math:`\bar g = \sum g_y` and
:math:`G_V = \sum g_y (x - \mu)^\top`, the gradients are

.. math:: g_\beta = \bar g, \quad g_\gamma = \operatorname{diag}(G_V W^\top), \quad
          g_x = V^\top (g_y - \bar g / n) + \tfrac2n\, g_\Sigma (x - \mu),

with :math:`g_\Sigma` the gradient of :math:`T` for :math:`G_W = \operatorname{diag}(\gamma) G_V`,
symmetrised. Over several processes :math:`\bar g` and :math:`G_W` are sums over all of them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from covlayers.functional.batch_moments import (
    Moments,
    affine,
    merge_groups,
    moments,
    products,
    split_groups,
)
from covlayers.functional.collective import all_sum
from covlayers.functional.linalg import symmetric
from covlayers.functional.precision import HALVES, no_autocast

MatrixOf = Callable[[Tensor], Tensor]
"""A function from covariances ``(G, c, c)`` to matrices ``(G, c, c)``."""


def batch_transform(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    matrix: MatrixOf,
    num_groups: int,
    group: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Normalise ``x``; also its mean ``(C,)``, covariance ``(G, c, c)`` and number of positions.

    For the backward pass one Function keeps ``x`` itself and small matrices. A compiled graph, of
    which the compiler chooses what to keep, differentiates the steps, and so does a second
    derivative.

    Args:
        x: features ``(N, C, *)``.
        weight: the scale ``(C,)``, or None.
        bias: the shift ``(C,)``, or None.
        matrix: :math:`T`, by whatever method and rule.
        num_groups: of channels.
        group: name of the process group over which statistics are taken, or None.
    """
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    tracked = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    with no_autocast(x):
        if torch.compiler.is_compiling() or not tracked:
            y, m = _steps(x, weight, bias, matrix, num_groups, group)
            return y, m.mean.detach().flatten(), m.cov.detach(), m.positions
        return _BatchTransform.apply(x, weight, bias, _Recorded(matrix), num_groups, group)


def affine_transform(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, W: Tensor
) -> Tensor:
    """The same with a given mean ``(C,)`` and matrices ``W (G, c, c)``."""
    with no_autocast(x):
        z = split_groups(_full(x), W.shape[0])
        V = _scaled(W.to(z.dtype), weight)
        shift = _column(bias, V) - V @ _column(mean, V)
        return merge_groups(affine(V, z, shift), x).to(x.dtype)


def _full(x: Tensor) -> Tensor:
    return x.float() if x.dtype in HALVES else x


def _scaled(W: Tensor, weight: Tensor | None) -> Tensor:
    return W if weight is None else _column(weight, W) * W


def _column(vector: Tensor | None, W: Tensor) -> Tensor:
    """A vector ``(C,)``, zero for None, to be added to the rows of ``W z``: ``(G, c, 1)``."""
    return W.new_zeros(1) if vector is None else vector.to(W.dtype).view(*W.shape[:-1], 1)


def _steps(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    matrix: MatrixOf,
    num_groups: int,
    group: str | None,
) -> tuple[Tensor, Moments]:
    m = moments(split_groups(_full(x), num_groups), group)
    V = _scaled(matrix(m.cov), weight)
    z = affine(V, m.centered, _column(bias, V))
    return merge_groups(z, x).to(x.dtype), m


class _Recorded:
    """A function of the covariance that remembers how to differentiate its value."""

    def __init__(self, matrix: MatrixOf) -> None:
        self.matrix = matrix

    def __call__(self, cov: Tensor) -> Tensor:
        self.cov = cov.detach().requires_grad_()
        with torch.enable_grad():
            self.W = self.matrix(self.cov)
        return self.W.detach()

    def vjp(self, grad: Tensor) -> Tensor:
        return torch.autograd.grad(self.W, self.cov, grad, retain_graph=True)[0]


class _BatchTransform(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        matrix: _Recorded,
        num_groups: int,
        group: str | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        y, m = _steps(x, weight, bias, matrix, num_groups, group)
        return y, m.mean.flatten(), m.cov, m.positions

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, bias, ctx.matrix, ctx.num_groups, ctx.group = inputs
        _, mean, cov, count = output
        ctx.save_for_backward(x, weight, bias, mean, count)
        ctx.mark_non_differentiable(mean, cov, count)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, count = ctx.saved_tensors
        with no_autocast(grad):
            if torch.is_grad_enabled():
                return *_differentiate_steps(ctx, grad, x, weight, bias), None, None, None
            W = ctx.matrix.W.detach()
            g = split_groups(_full(grad), ctx.num_groups)
            centered = split_groups(_full(x), ctx.num_groups) - _column(mean, W)
            gsum, gV = g.sum((0, -1)), products(g, centered)
            gweight = None if weight is None else (gV * W).sum(-1).flatten().to(weight.dtype)
            gbias = None if bias is None else gsum.flatten().to(bias.dtype)
            total = all_sum(torch.cat([gsum.flatten(), _scaled(gV, weight).flatten()]), ctx.group)
            gx = None
            if ctx.needs_input_grad[0]:
                gsum, gW = total.split([gsum.numel(), gV.numel()])
                gcov = symmetric(ctx.matrix.vjp(gW.view_as(gV))) * (2 / count)
                Vt = _scaled(W, weight).mT
                through_mean = Vt @ _column(gsum, Vt) / count
                gz = affine(gcov, centered, affine(Vt, g, -through_mean))
                gx = merge_groups(gz, x).to(x.dtype)
        return gx, gweight, gbias, None, None, None


def _differentiate_steps(ctx: Any, grad: Tensor, *inputs: Tensor | None) -> list[Tensor | None]:
    """The same gradient, by steps that can be differentiated again."""
    needed = [i for i, needs in enumerate(ctx.needs_input_grad[:3]) if needs]

    def steps(*wanted: Tensor) -> Tensor:
        given: dict[int, Any] = dict(enumerate(inputs)) | dict(zip(needed, wanted, strict=True))
        return _steps(given[0], given[1], given[2], ctx.matrix.matrix, ctx.num_groups, ctx.group)[0]

    vjp = torch.func.vjp(steps, *(inputs[i] for i in needed))[1]
    found = dict(zip(needed, vjp(grad), strict=True))
    return [found.get(i) for i in range(3)]
