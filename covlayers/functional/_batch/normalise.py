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
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from covlayers.functional._base.function import compiling, recorded, transformed
from covlayers.functional._base.linalg import cast, regularized
from covlayers.functional._base.tensors import autocasts
from covlayers.functional._batch.collective import all_sum
from covlayers.functional._batch.kernels import Kernels
from covlayers.functional._batch.memory_layout import Layout, formatted_gradient
from covlayers.functional._batch.products import Products, Statistics
from covlayers.functional._iterations.conditions import fits_features
from covlayers.functional.rule import Applied, Vjp

Passes: TypeAlias = Products | Kernels


@dataclass  # not frozen: a compiled graph on torch 2.11 builds no frozen one
class Way:
    r"""How the matrices ``(G, c, c)`` follow from covariances of that shape."""

    matrix: Callable[[Tensor], Tensor]  # T, of the regularised covariances
    eps: float
    shrinkage: float | None


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
    passes = _passes(x, num_groups)
    tracked = any([one is not None and one.requires_grad for one in (x, weight, bias)])
    if compiling() or transformed() or not (tracked and torch.is_grad_enabled()):
        y, _, (mean, cov, positions) = _steps(x, weight, bias, way, way.matrix, passes, group)
        return y, mean.detach(), cov.detach(), positions
    work = _Work(way, passes, group)
    y = _BatchTransform.apply(x, weight, bias, work)
    mean, cov, positions = work.statistics
    return y, mean, cov, positions


def affine_transform(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, W: Tensor
) -> Tensor:
    """The same with a given mean ``(C,)`` and matrices ``W (G, c, c)``."""
    if autocasts(x):
        with torch.autocast(x.device.type, enabled=False):
            return affine_transform(x, weight, bias, mean, W)
    x = formatted_gradient(x)
    tracked = torch.is_grad_enabled() and any(
        [one is not None and one.requires_grad for one in (x, weight, bias)]
    )
    passes = _passes(x, W.shape[0], join=False, steps=tracked)
    # Centred first: in V x - V mean a large mean would cancel.
    z, W = passes.given(x, mean, W)
    return cast(passes.transform(z, mean, W, weight, bias), x.dtype)


def _passes(x: Tensor, num_groups: int, join: bool = True, steps: bool = False) -> Passes:
    """What computes with this batch: the one place that asks; products if steps are recorded."""
    if x.device.type != "cpu" and not steps and fits_features(x, num_groups):
        return Kernels(num_groups)
    return Products(Layout.of(x, num_groups, join))


def _steps(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    way: Way,
    matrix: Callable[[Tensor], Tensor],
    passes: Passes,
    group: str | None,
) -> tuple[Tensor, Tensor, Statistics]:
    """The output, the matrices, and the statistics."""
    z, A, statistics = passes.statistics(x, way.eps, way.shrinkage, group)
    W = matrix(A)
    y = passes.transform(z, statistics[0], W, weight, bias)
    return cast(y, x.dtype), W, statistics


@dataclass
class _Work:
    """What the Function is told beside tensors, and what it leaves."""

    way: Way
    passes: Passes
    group: str | None
    statistics: Statistics = field(init=False)
    W: Tensor = field(init=False)
    symmetric: bool = field(init=False)  # whether ``twice`` wants its gradient so, hence doubled
    twice: Vjp = field(init=False)  # from the gradient for W to twice the symmetric one for A

    def matrix(self, A: Tensor) -> Tensor:
        """The matrices, whose derivative is kept."""
        matrix = self.way.matrix
        if isinstance(matrix, Applied):
            W, vjp = matrix.with_vjp(A)
            self.twice, self.symmetric = vjp, True
        else:
            W, vjp = recorded(matrix, A)
            self.twice, self.symmetric = lambda grad: _with_transpose(vjp(grad)), False
        return W


def _with_transpose(G: Tensor) -> Tensor:
    return G + G.mT


class _BatchTransform(torch.autograd.Function):
    """The steps, with a backward pass that keeps ``x`` itself and small matrices."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, work: _Work
    ) -> Tensor:
        y, work.W, work.statistics = _steps(
            x, weight, bias, work.way, work.matrix, work.passes, work.group
        )
        ctx.save_for_backward(x, weight, bias)
        ctx.work = work
        return y.detach() if y._is_view() else y  # nobody could change a view in place here

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if autocasts(grad):
            with torch.autocast(grad.device.type, enabled=False):
                return _BatchTransform.backward(ctx, grad)
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiate_steps(ctx, grad, x, weight, bias), None
        work = ctx.work
        passes, W, (mean, _, positions) = work.passes, work.W, work.statistics
        factors, gsum, gweight, gW = passes.gradient_sums(grad, x, mean, W, weight, work.symmetric)
        gweight = None if weight is None else cast(gweight, weight.dtype)
        gbias = None if bias is None else cast(gsum, bias.dtype)
        if work.group is not None:
            packed = all_sum(torch.cat([gsum, gW.flatten()]), work.group)
            parts = packed.split([gsum.numel(), gW.numel()])
            gsum, gW = parts[0], parts[1].view_as(gW)
        gx = None
        if ctx.needs_input_grad[0]:
            # Shrinkage is its own adjoint; the derivative of adding eps is the identity.
            gcov = regularized(work.twice(gW), 0.0, work.way.shrinkage)
            if isinstance(positions, Tensor):  # which the host does not wait for
                gcov, gsum, positions = gcov / positions, gsum / positions, 1
            share = 1 / max(positions, 1)
            gx = cast(passes.gradient(factors, mean, W, weight, gsum, gcov, share), x.dtype)
        return gx, gweight, gbias, None


def _differentiate_steps(ctx: Any, grad: Tensor, *inputs: Tensor | None) -> list[Tensor | None]:
    """The same gradient, by steps that can be differentiated again."""
    needed = [i for i, needs in enumerate(ctx.needs_input_grad[:3]) if needs]
    work = ctx.work

    def steps(*wanted: Tensor) -> Tensor:
        given: dict[int, Any] = dict(enumerate(inputs)) | dict(zip(needed, wanted, strict=True))
        x, weight, bias = given[0], given[1], given[2]
        products = Products(Layout.of(x, work.W.shape[0]))
        return _steps(x, weight, bias, work.way, work.way.matrix, products, work.group)[0]

    vjp = torch.func.vjp(steps, *(inputs[i] for i in needed))[1]
    found = dict(zip(needed, vjp(grad), strict=True))
    return [found.get(i) for i in range(3)]
