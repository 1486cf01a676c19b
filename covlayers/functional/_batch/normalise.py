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
from torch.autograd.graph import saved_tensors_hooks

from covlayers.functional._base.function import compiling, transformed
from covlayers.functional._base.linalg import symmetric
from covlayers.functional._base.tensors import full, no_autocast
from covlayers.functional._batch.collective import all_sum
from covlayers.functional._batch.memory_layout import Layout
from covlayers.functional._batch.moments import Moments, moments

MatrixOf = Callable[[Tensor], Tensor]
"""A function from covariances ``(G, c, c)`` to matrices ``(G, c, c)``."""


def batch_transform(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    matrix: MatrixOf,
    num_groups: int,
    group: str | None,
) -> tuple[Tensor, Tensor, Tensor, int | Tensor]:
    """Normalise ``x``; also its mean ``(C,)``, covariance ``(G, c, c)`` and number of positions.

    For the backward pass one Function keeps ``x`` itself and small matrices. A compiled graph, of
    which the compiler chooses what to keep, differentiates the steps. So do the transforms of
    ``torch.func``, forward mode, and a second derivative.

    Args:
        x: features ``(N, C, *)``.
        weight: the scale ``(C,)``, or None.
        bias: the shift ``(C,)``, or None.
        matrix: :math:`T`, by whatever method and rule.
        num_groups: of channels.
        group: name of the process group over which statistics are taken, or None.
    """
    layout = Layout.of(x, num_groups)
    with no_autocast(x):
        if compiling() or transformed() or not _tracked(x, weight, bias):
            product, m = _steps(x, weight, bias, matrix, layout, group)
        else:
            work = _Work(_Recorded(matrix), layout, group)
            product = _BatchTransform.apply(x, weight, bias, work)
            m = work.moments
        y = layout.merge(product)
        y = y if y.dtype == x.dtype else y.to(x.dtype)
        return y, m.mean.detach().flatten(), m.cov.detach(), m.positions


def _tracked(*inputs: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(
        [one is not None and one.requires_grad for one in inputs]
    )


def affine_transform(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, W: Tensor
) -> Tensor:
    """The same with a given mean ``(C,)`` and matrices ``W (G, c, c)``."""
    layout = Layout.of(x, W.shape[0])
    with no_autocast(x):
        z = layout.split(full(x))
        V = scaled(W.to(z.dtype), weight)
        # Centred first: in V x - V mean a large mean would cancel.
        product = layout.product(V, z - column(mean, V))
        if bias is not None:
            product.add_(layout.like_product(column(bias, V)))
        return layout.merge(product).to(x.dtype)


def scaled(W: Tensor, weight: Tensor | None) -> Tensor:
    """``diag(weight) W``, ``W`` itself for None: ``(*, G, c, c)``."""
    return W if weight is None else column(weight, W) * W


def column(vector: Tensor, W: Tensor) -> Tensor:
    """A vector ``(C,)``, to be added to ``W z``: ``(G, c, 1)``."""
    return vector.to(W.dtype).view(*W.shape[-3:-1], 1)


def _steps(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    matrix: MatrixOf,
    layout: Layout,
    group: str | None,
) -> tuple[Tensor, Moments]:
    m = moments(full(x), layout, group)
    V = scaled(matrix(m.cov), weight)
    product = layout.product(V, m.centered)
    if bias is not None:
        product.add_(layout.like_product(column(bias, V)))
    return product, m


class _Recorded:
    """A function of the covariance that remembers how to differentiate its value."""

    def __init__(self, matrix: MatrixOf) -> None:
        self.matrix = matrix

    def __call__(self, cov: Tensor) -> Tensor:
        self.cov = cov.detach().requires_grad_()
        # Activation checkpointing, which hooks what is saved, would otherwise run the whole forward
        # pass once more for these small matrices.
        with torch.enable_grad(), saved_tensors_hooks(torch.detach, lambda saved: saved):
            self.W = self.matrix(self.cov)
        return self.W.detach()

    def vjp(self, grad: Tensor) -> Tensor:
        return torch.autograd.grad(self.W, self.cov, grad, retain_graph=True)[0]


class _Work:
    """What the Function is told beside tensors, and the statistics that it leaves."""

    moments: Moments

    def __init__(self, matrix: _Recorded, layout: Layout, group: str | None) -> None:
        self.matrix, self.layout, self.group = matrix, layout, group


class _BatchTransform(torch.autograd.Function):
    """The steps, up to a last change of view that an operation in place may need to see."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, work: _Work
    ) -> Tensor:
        product, work.moments = _steps(x, weight, bias, work.matrix, work.layout, work.group)
        work.moments = work.moments._replace(centered=x.new_empty(0))
        ctx.save_for_backward(x, weight, bias, work.moments.mean)
        ctx.work, ctx.positions = work, work.moments.positions
        return product

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean = ctx.saved_tensors
        work = ctx.work
        layout, matrix, positions = work.layout, work.matrix, ctx.positions
        with no_autocast(grad):
            if torch.is_grad_enabled():
                return *_differentiate_steps(ctx, grad, x, weight, bias), None
            W = matrix.W.detach()
            g = layout.like_product(grad)
            centered = layout.centered(full(x), mean)
            gsum, gV = g.sum((0, -1)), g @ centered.mT
            gV = gV.sum(0) if gV.shape[0] != 1 else gV[0]
            gweight = None if weight is None else (gV * W).sum(-1).flatten().to(weight.dtype)
            gbias = None if bias is None else gsum.flatten().to(bias.dtype)
            gW = scaled(gV, weight)
            if work.group is not None:
                packed = all_sum(torch.cat([gsum.flatten(), gW.flatten()]), work.group)
                gsum, gW = (part for part in packed.split([gsum.numel(), gW.numel()]))
            gx = None
            if ctx.needs_input_grad[0]:
                gcov = symmetric(matrix.vjp(gW.view_as(gV))) * (2 / positions)
                Vt = scaled(W, weight).mT
                gmean = Vt @ (column(gsum.flatten(), Vt) / positions)
                gz = layout.product(Vt, g).sub_(layout.like_product(gmean))
                gx = layout.merge(layout.add_product(gz, gcov, centered)).to(x.dtype)
        return gx, gweight, gbias, None


def _differentiate_steps(ctx: Any, grad: Tensor, *inputs: Tensor | None) -> list[Tensor | None]:
    """The same gradient, by steps that can be differentiated again."""
    needed = [i for i, needs in enumerate(ctx.needs_input_grad[:3]) if needs]

    def steps(*wanted: Tensor) -> Tensor:
        given: dict[int, Any] = dict(enumerate(inputs)) | dict(zip(needed, wanted, strict=True))
        work = ctx.work
        return _steps(given[0], given[1], given[2], work.matrix.matrix, work.layout, work.group)[0]

    vjp = torch.func.vjp(steps, *(inputs[i] for i in needed))[1]
    found = dict(zip(needed, vjp(grad), strict=True))
    return [found.get(i) for i in range(3)]
