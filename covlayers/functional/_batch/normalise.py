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
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from covlayers.functional._base.linalg import symmetric
from covlayers.functional._base.tensors import full, no_autocast
from covlayers.functional._batch.collective import all_sum
from covlayers.functional._batch.memory_layout import Layout
from covlayers.functional._batch.moments import moments

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
    layout = Layout.of(x, num_groups)
    with no_autocast(x):
        if torch.compiler.is_compiling() or not tracked:
            product, *statistics = _steps(x, weight, bias, matrix, layout, group)
        else:
            product, *statistics = _BatchTransform.apply(
                x, weight, bias, _Recorded(matrix), layout, group
            )
        mean, cov, positions = (part.detach() for part in statistics)
        return layout.merge(product).to(x.dtype), mean.flatten(), cov, positions


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
        return layout.merge(product.add_(layout.like_product(column(bias, V)))).to(x.dtype)


def scaled(W: Tensor, weight: Tensor | None) -> Tensor:
    """``diag(weight) W``, ``W`` itself for None: ``(*, G, c, c)``."""
    return W if weight is None else column(weight, W) * W


def column(vector: Tensor | None, W: Tensor) -> Tensor:
    """A vector ``(C,)``, zero for None, to be added to ``W z``: ``(G, c, 1)``."""
    return W.new_zeros(1, 1) if vector is None else vector.to(W.dtype).view(*W.shape[-3:-1], 1)


def _steps(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    matrix: MatrixOf,
    layout: Layout,
    group: str | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    m = moments(full(x), layout, group)
    V = scaled(matrix(m.cov), weight)
    product = layout.product(V, m.centered).add_(layout.like_product(column(bias, V)))
    return product, m.mean, m.cov, m.positions


class _Recorded:
    """A function of the covariance that remembers how to differentiate its value."""

    def __init__(self, matrix: MatrixOf) -> None:
        self.matrix = matrix

    def __call__(self, cov: Tensor) -> Tensor:
        # An entry for all: of the covariance itself nothing is kept.
        self.change = cov.new_zeros(()).expand_as(cov).requires_grad_()
        with torch.enable_grad(), ExitStack() as stack:
            # Activation checkpointing, which hooks what is saved, would otherwise run the whole
            # forward pass once more for these small matrices. Under torch.func there are no hooks.
            with suppress(RuntimeError):
                stack.enter_context(saved_tensors_hooks(torch.detach, lambda saved: saved))
            self.W = self.matrix(cov.detach() + self.change)
        return self.W.detach()

    def vjp(self, grad: Tensor) -> Tensor:
        return torch.autograd.grad(self.W, self.change, grad, retain_graph=True)[0]


class _BatchTransform(torch.autograd.Function):
    """The steps, up to a last change of view that an operation in place may need to see."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        matrix: _Recorded,
        layout: Layout,
        group: str | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return _steps(x, weight, bias, matrix, layout, group)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weight, bias, ctx.matrix, ctx.layout, ctx.group = inputs
        _, mean, cov, positions = output
        ctx.save_for_backward(x, weight, bias, mean, positions)
        ctx.mark_non_differentiable(mean, cov, positions)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, positions = ctx.saved_tensors
        layout = ctx.layout
        with no_autocast(grad):
            if torch.is_grad_enabled():
                return *_differentiate_steps(ctx, grad, x, weight, bias), None, None, None
            W = ctx.matrix.W.detach()
            g = layout.like_product(grad)
            centered = layout.centered(full(x), mean)
            gsum, gV = g.sum((0, -1)), (g @ centered.mT).sum(0)
            gweight = None if weight is None else (gV * W).sum(-1).flatten().to(weight.dtype)
            gbias = None if bias is None else gsum.flatten().to(bias.dtype)
            total = all_sum(torch.cat([gsum.flatten(), scaled(gV, weight).flatten()]), ctx.group)
            gx = None
            if ctx.needs_input_grad[0]:
                gsum, gW = total.split([gsum.numel(), gV.numel()])
                gcov = symmetric(ctx.matrix.vjp(gW.view_as(gV))) * (2 / positions)
                Vt = scaled(W, weight).mT
                gmean = Vt @ column(gsum, Vt) / positions
                gz = layout.product(Vt, g).sub_(layout.like_product(gmean))
                gx = layout.merge(layout.add_product(gz, gcov, centered)).to(x.dtype)
        return gx, gweight, gbias, None, None, None


def _differentiate_steps(ctx: Any, grad: Tensor, *inputs: Tensor | None) -> list[Tensor | None]:
    """The same gradient, by steps that can be differentiated again."""
    needed = [i for i, needs in enumerate(ctx.needs_input_grad[:3]) if needs]

    def steps(*wanted: Tensor) -> Tensor:
        given: dict[int, Any] = dict(enumerate(inputs)) | dict(zip(needed, wanted, strict=True))
        matrix = ctx.matrix.matrix
        return _steps(given[0], given[1], given[2], matrix, ctx.layout, ctx.group)[0]

    vjp = torch.func.vjp(steps, *(inputs[i] for i in needed))[1]
    found = dict(zip(needed, vjp(grad), strict=True))
    return [found.get(i) for i in range(3)]
