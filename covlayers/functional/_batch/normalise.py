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
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.function import compiling, recorded, transformed
from covlayers.functional._base.linalg import cast, regularized
from covlayers.functional._base.tensors import autocasts, full
from covlayers.functional._batch.collective import all_sum
from covlayers.functional._batch.memory_layout import Layout, formatted_gradient
from covlayers.functional._batch.moments import Statistics, moments
from covlayers.functional.rule import Applied, Vjp


@dataclass  # not frozen: a compiled graph on torch 2.11 builds no frozen one
class Way:
    r"""How the matrices ``(G, c, c)`` follow from covariances of that shape."""

    matrix: Callable[[Tensor], Tensor]  # T, of the regularised covariances
    eps: float
    shrinkage: float | None

    def __call__(self, cov: Tensor) -> Tensor:
        """The matrices."""
        return self.matrix(regularized(cov, self.eps, self.shrinkage))


def batch_transform(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    way: Way,
    num_groups: int,
    group: str | None,
) -> tuple[Tensor, Tensor, Tensor, int | Tensor]:
    r"""Normalise ``x``; also its mean ``(C,)``, covariance ``(G, c, c)`` and number of positions.

    For the backward pass one Function keeps ``x`` itself and small matrices. A compiled graph, of
    which the compiler chooses what to keep, differentiates the steps. So do the transforms of
    ``torch.func``, forward mode, and a second derivative.

    Args:
        x: features ``(N, C, *)``.
        weight: the scale ``(C,)``, or None.
        bias: the shift ``(C,)``, or None.
        way: from :math:`\Sigma` to :math:`W`, by whatever method and rule.
        num_groups: of channels.
        group: name of the process group over which statistics are taken, or None.
    """
    if autocasts(x):
        with torch.autocast(x.device.type, enabled=False):
            return batch_transform(x, weight, bias, way, num_groups, group)
    layout = Layout.of(x, num_groups)
    tracked = any([one is not None and one.requires_grad for one in (x, weight, bias)])
    if compiling() or transformed() or not (tracked and torch.is_grad_enabled()):
        y, _, (mean, cov, positions) = _steps(x, weight, bias, way, layout, group)
        return y, mean.detach().flatten(), cov.detach(), positions
    work = _Work(way, layout, group)
    y = _BatchTransform.apply(x, weight, bias, work)
    mean, cov, positions = work.statistics
    return y, mean.flatten(), cov, positions


def affine_transform(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, W: Tensor
) -> Tensor:
    """The same with a given mean ``(C,)`` and matrices ``W (G, c, c)``."""
    if autocasts(x):
        with torch.autocast(x.device.type, enabled=False):
            return affine_transform(x, weight, bias, mean, W)
    z = full(formatted_gradient(x))
    W = cast(W, z.dtype)
    layout = Layout.of(x, W.shape[0], join=False)
    V = W if weight is None else layout.column(weight, W.dtype) * W
    shift = None if bias is None else layout.column(bias, W.dtype)
    # Centred first: in V x - V mean a large mean would cancel.
    centered = layout.centered(z, layout.column(mean, W.dtype))
    y = layout.merge(layout.affine(V, centered, shift))
    return cast(y, x.dtype)


def _steps(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    matrix: Callable[[Tensor], Tensor],
    layout: Layout,
    group: str | None,
) -> tuple[Tensor, Tensor, Statistics]:
    """The output, the matrices with the scale in them, and the statistics."""
    centered, statistics = moments(full(x), layout, group)
    V = matrix(statistics[1])
    if weight is not None:
        V = layout.column(weight, V.dtype) * V
    shift = None if bias is None else layout.column(bias, V.dtype)
    y = layout.merge(layout.affine(V, centered, shift))
    return cast(y, x.dtype), V, statistics


class _Work:
    """What the Function is told beside tensors, and the statistics that it leaves."""

    statistics: Statistics
    V: Tensor
    W: Tensor
    twice: Vjp  # from a gradient for W to twice the symmetric one for the covariance

    def __init__(self, way: Way, layout: Layout, group: str | None) -> None:
        self.way, self.layout, self.group = way, layout, group

    def matrix(self, cov: Tensor) -> Tensor:
        """The matrices, whose derivative is kept."""
        matrix = self.way.matrix
        A = regularized(cov, self.way.eps, self.way.shrinkage)
        if isinstance(matrix, Applied):
            self.W, vjp = matrix.with_vjp(A)
            self.twice = lambda grad: vjp(_with_transpose(grad))
        else:
            self.W, vjp = recorded(matrix, A)
            self.twice = lambda grad: _with_transpose(vjp(grad))
        return self.W


def _with_transpose(G: Tensor) -> Tensor:
    return G + G.mT


class _BatchTransform(torch.autograd.Function):
    """The steps, with a backward pass that keeps ``x`` itself and small matrices."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, work: _Work
    ) -> Tensor:
        y, work.V, work.statistics = _steps(x, weight, bias, work.matrix, work.layout, work.group)
        ctx.save_for_backward(x, weight, bias)
        ctx.work = work
        return y.detach()  # PyTorch lets nobody change a view in place here

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if autocasts(grad):
            with torch.autocast(grad.device.type, enabled=False):
                return _BatchTransform.backward(ctx, grad)
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiate_steps(ctx, grad, x, weight, bias), None
        work = ctx.work
        layout, W, (mean, _, positions) = work.layout, work.W, work.statistics
        g = layout.split(full(grad))
        centered = layout.centered(full(x), mean)
        gV = layout.total(g.bmm(centered.mT))
        gsum = layout.total(g.sum(-1, keepdim=True))
        gweight = None if weight is None else cast((gV * W).sum(-1).reshape(-1), weight.dtype)
        gbias = None if bias is None else cast(gsum.reshape(-1), bias.dtype)
        gW = gV if weight is None else layout.column(weight, W.dtype) * gV
        if work.group is not None:
            packed = all_sum(torch.cat([gsum.flatten(), gW.flatten()]), work.group)
            parts = packed.split([gsum.numel(), gW.numel()])
            gsum, gW = parts[0].view_as(gsum), parts[1].view_as(gW)
        gx = None
        if ctx.needs_input_grad[0]:
            # Shrinkage is its own adjoint; the derivative of adding eps is the identity.
            gcov = regularized(work.twice(gW), 0.0, work.way.shrinkage)
            Vt = work.V.mT
            gmean = Vt.bmm(gsum)
            if isinstance(positions, Tensor):  # which the host does not wait for
                gcov, gmean, positions = gcov / positions, gmean / positions, 1
            share = 1 / max(positions, 1)
            gz = layout.affine(Vt, g, gmean, -share)
            gz = layout.add_product(gz, gcov, centered, share)
            gx = cast(layout.merge(gz), x.dtype)
        return gx, gweight, gbias, None


def _differentiate_steps(ctx: Any, grad: Tensor, *inputs: Tensor | None) -> list[Tensor | None]:
    """The same gradient, by steps that can be differentiated again."""
    needed = [i for i, needs in enumerate(ctx.needs_input_grad[:3]) if needs]

    def steps(*wanted: Tensor) -> Tensor:
        given: dict[int, Any] = dict(enumerate(inputs)) | dict(zip(needed, wanted, strict=True))
        work = ctx.work
        return _steps(given[0], given[1], given[2], work.way, work.layout, work.group)[0]

    vjp = torch.func.vjp(steps, *(inputs[i] for i in needed))[1]
    found = dict(zip(needed, vjp(grad), strict=True))
    return [found.get(i) for i in range(3)]
