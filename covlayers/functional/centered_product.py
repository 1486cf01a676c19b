r"""The sum of products over weighted positions that every covariance is.

.. math:: A = \tfrac1M \sum_j \omega_j\, (x_j - \mu_x)(y_j - \mu_y)^\top, \qquad
          \mu_x = \tfrac1M \sum_j \omega_j x_j

with weights :math:`\omega` of mean one.
"""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.function import differentiable
from covlayers.functional._base.linalg import regularized
from covlayers.functional._features.conditions import serves, serves_positions
from covlayers.functional._features.covariance import covariance_by_kernel


def centered_product(
    x: Tensor, y: Tensor | None, center: bool = True, weights: Tensor | None = None
) -> Tensor:
    r"""The core: the covariance of ``x (*, C, M)`` with ``y (*, D, M)``, with itself for None.

    Args:
        x: features.
        y: others at the same positions, or None.
        center: whether to subtract the means.
        weights: :math:`\omega`, ``(*, 1, M)``, of mean one or all zero; None for equal ones.
    """
    return _centered_product(x, y, weights, center)


def centered(x: Tensor, center: bool, weights: Tensor | None = None) -> Tensor:
    """``x (*, C, M)`` less its mean over the positions, if told to."""
    if not center:
        return x
    if weights is None:
        return x - x.mean(-1, keepdim=True)
    return x - torch.where(weights == 0, 0.0, x) @ (weights.mT / x.shape[-1])


def weighted(x: Tensor, center: bool, weights: Tensor | None) -> Tensor:
    """Features whose covariance about zero, over equal positions, is the one of ``x``.

    A position of weight zero is zero, whatever it holds.
    """
    z = centered(x, center, weights)
    return z if weights is None else torch.where(weights == 0, 0.0, z * weights.sqrt())


def regularized_covariance(
    x: Tensor, center: bool, eps: float, shrinkage: float | None, weights: Tensor | None = None
) -> Tensor:
    """The core of :func:`~.covariances.covariance`, with weights as above."""
    by_kernel = x.device.type != "cpu" and weights is None and x.shape[-1] <= tuning.MOST_POSITIONS
    if by_kernel and serves(x):
        return covariance_by_kernel(x, center, eps, shrinkage)
    return regularized(_centered_product(x, None, weights, center), eps, shrinkage)


def few_positions(
    x: Tensor,
    side: str,
    products: object = None,
    eps: float = 0.0,
    shrinkage: float | None = None,
) -> bool:
    """Whether the side of the positions is asked for, or left open and costs less.

    Args:
        x: features ``(*, C, M)``.
        side: ``"positions"`` or ``"auto"``.
        products: what an accelerator takes on that side; None if there is nothing.
        eps: added to the diagonal; the products need some.
        shrinkage: the products know none.
    """
    share, less = tuning.FEW_BY_CHANNELS
    few = share * x.shape[-2] - less >= x.shape[-1]
    if x.device.type != "cpu":
        few = few and products is not None and eps > 0 and not shrinkage and serves_positions(x)
    return side == "positions" or (few and side == "auto")


class _CenteredProduct:
    """The mean of products; it keeps its inputs only.

    No gradient flows through the means: it would add a sum over centred features to each position,
    and that sum is zero.
    """

    @staticmethod
    def forward(x: Tensor, y: Tensor | None, weights: Tensor | None, center: bool) -> Tensor:
        M = x.shape[-1]
        z = centered(x, center) if weights is None else weighted(x, center, weights)
        if y is None:  # one operand for both sides, so that BLAS gives a symmetric product
            return _products(z, z) / M
        return _products(z / M, weighted(y, center, weights))

    @staticmethod
    def keep(
        ctx: Any, inputs: tuple[Any, ...], output: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        x, y, weights, ctx.center = inputs
        return x, y, weights

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weights = ctx.saved_tensors
        for_x, for_y, for_weights, _ = ctx.needs_input_grad
        grad = grad / x.shape[-1]
        gx = gy = gweights = None
        if y is None:
            z = centered(x, ctx.center, weights)
            each = (grad + grad.mT) @ z
            if for_weights:
                gweights = (each * z).sum(-2, keepdim=True) / 2
            gx = each if weights is None else _counting(each, weights)
            return gx, None, gweights, None
        if for_x or for_weights:
            each = grad @ centered(y, ctx.center, weights)
            gx = each if weights is None else _counting(each, weights)
        if for_y or for_weights:
            z = centered(x, ctx.center, weights)
            if for_y:
                gy = grad.mT @ z if weights is None else _counting(grad.mT @ z, weights)
        if for_weights:
            gweights = (each * z).sum(-2, keepdim=True)
        return gx, gy, gweights, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dy: Tensor | None, dw: Tensor | None, _: None) -> Tensor:
        x, y, weights = ctx.saved_tensors
        M = x.shape[-1]
        zx = weighted(x, ctx.center, weights)
        zy = zx if y is None else weighted(y, ctx.center, weights)
        tangent = x.new_zeros(())
        if dx is not None:
            half = _products(weighted(dx, ctx.center, weights) / M, zy)
            tangent = tangent + (half + half.mT if y is None else half)
        if dy is not None:
            tangent = tangent + _products(zx / M, weighted(dy, ctx.center, weights))
        if dw is not None:
            first, second = (
                torch.where(dw == 0, 0.0, centered(one, ctx.center, weights))
                for one in (x, x if y is None else y)
            )
            tangent = tangent + _products(first * (dw / M), second)
        return tangent


_centered_product = differentiable(_CenteredProduct)


def _counting(each: Tensor, weights: Tensor) -> Tensor:
    """What comes from each position, by its weight."""
    return torch.where(weights == 0, 0.0, each * weights)


def _products(x: Tensor, y: Tensor) -> Tensor:
    """``x yᵀ``: one product, or a sum over blocks where one product would round too much."""
    M, block = x.shape[-1], tuning.BLOCK
    if 16 * block > M or min(x.shape[-2], y.shape[-2]) >= tuning.FEW_CHANNELS:
        return x @ y.mT
    whole = M - M % block
    blocks = (z[..., :whole].unflatten(-1, (-1, block)).movedim(-2, -3) for z in (x, y))
    first, second = blocks  # (*, M / BLOCK, C, BLOCK)
    total = (first @ second.mT).sum(-3, dtype=torch.float64).to(x.dtype)
    return total + x[..., whole:] @ y[..., whole:].mT
