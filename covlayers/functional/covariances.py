"""Covariance of features over positions, with no centred copy kept."""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.checks import check_flag, check_number
from covlayers.functional._base.function import differentiable
from covlayers.functional._base.linalg import regularized
from covlayers.functional._base.tensors import (
    check_broadcast,
    check_positions,
    check_same,
    check_shape,
    check_square,
    check_tensor,
    full_precision,
)
from covlayers.functional._features.conditions import serves, serves_positions
from covlayers.functional._features.covariance import covariance_by_kernel


@full_precision
def covariance(
    x: Tensor, *, center: bool = True, eps: float = 0.0, shrinkage: float | None = None
) -> Tensor:
    r"""Covariance of channels over positions.

    .. math:: A = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr} \Sigma}{C} I + \varepsilon I,
              \qquad \Sigma = \tfrac1M (x - \mu)(x - \mu)^\top

    The features are centred before the product, so a large mean costs no accuracy; for the
    backward pass only ``x`` itself is kept.

    Args:
        x: features.
        center: whether to subtract the mean :math:`\mu` over the positions.
        eps: :math:`\varepsilon \ge 0`, added to the diagonal, in squared units of ``x``.
        shrinkage: :math:`s` in [0, 1], the weight of the scaled identity; None for none.

    Shape:
        - x: :math:`(*, C, M)`, ``M`` positions
        - Output: :math:`(*, C, C)`

    Raises:
        InvalidValueError: if ``x`` has fewer than two dimensions, fewer than two positions (one
            without ``center``), or ``eps`` or ``shrinkage`` is out of range.
        InvalidTypeError: if ``x`` is not a real floating tensor.

    Example:
        >>> covariance(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
        tensor([[1., 0.],
                [0., 0.]])
    """
    check_features(x, center, eps, shrinkage)
    return regularized_covariance(x, center, eps, shrinkage)


@full_precision
def cross_covariance(x: Tensor, y: Tensor, *, center: bool = True) -> Tensor:
    r"""Covariance of the channels of ``x`` with the channels of ``y`` over common positions.

    .. math:: A = \tfrac1M (x - \mu_x)(y - \mu_y)^\top

    Args:
        x: features.
        y: features at the positions of ``x``.
        center: whether to subtract the means over the positions.

    Shape:
        - x: :math:`(*, C, M)`
        - y: :math:`(*, D, M)`
        - Output: :math:`(*, C, D)`

    Raises:
        InvalidValueError: if the positions or devices differ, the batches do not broadcast, or
            there are too few positions.
        InvalidTypeError: if a dtype is wrong or the two differ.

    Example:
        >>> x = torch.tensor([[1.0, 3.0]])
        >>> cross_covariance(x, torch.tensor([[1.0, 3.0], [6.0, 2.0]]))
        tensor([[ 1., -2.]])
    """
    check_tensor("x", x, 2)
    check_tensor("y", y, 2)
    check_same("x", x, "y", y)
    check_shape("y", y, (x.shape[-1],), "to share the positions of x")
    check_broadcast("x", x, "y", y)
    check_flag("center", center)
    check_positions("x", x, 2 if center else 1)
    return centered_product(x, y, center)


@full_precision
def shrink(cov: Tensor, shrinkage: float) -> Tensor:
    r"""Shrink a covariance towards a multiple of the identity, keeping its trace.

    .. math:: A = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr} \Sigma}{n} I

    Args:
        cov: covariance matrices :math:`\Sigma`.
        shrinkage: :math:`s` in [0, 1].

    Shape:
        - cov: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: if ``cov`` is not square or ``shrinkage`` lies outside [0, 1].
        InvalidTypeError: if ``cov`` is not a real floating tensor.

    Example:
        >>> shrink(torch.tensor([[4.0, 2.0], [2.0, 2.0]]), 0.5)
        tensor([[3.5000, 1.0000],
                [1.0000, 2.5000]])

    Reference:
        :cite:t:`chen2010shrinkage`, who also estimate :math:`s`.
    """
    check_square("cov", cov)
    check_number("shrinkage", shrinkage, 0, 1)
    return regularized(cov, 0.0, shrinkage)


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


def check_features(x: Tensor, center: bool, eps: float, shrinkage: float | None) -> None:
    """Features and the options of their covariance."""
    check_tensor("x", x, 2)
    check_flag("center", center)
    check_positions("x", x, 2 if center else 1)
    check_number("eps", eps, 0)
    if shrinkage is not None:
        check_number("shrinkage", shrinkage, 0, 1)


def few_positions(x: Tensor, side: str, products: object, eps: float, s: float | None) -> bool:
    """Whether the side of the positions is asked for, or left open and costs less."""
    share, less = tuning.FEW_BY_CHANNELS
    few = share * x.shape[-2] - less >= x.shape[-1]
    if x.device.type != "cpu":  # by products alone, which know no shrinkage and no limit
        few = few and products is not None and eps > 0 and not s and serves_positions(x)
    return side == "positions" or (few and side == "auto")


def regularized_covariance(x: Tensor, center: bool, eps: float, s: float | None) -> Tensor:
    """The core of :func:`covariance`, with the shrinkage ``s``."""
    if x.device.type != "cpu" and x.shape[-1] <= tuning.MOST_POSITIONS and serves(x):
        return covariance_by_kernel(x, center, eps, s)
    return regularized(_centered_product(x, None, center), eps, s)


def centered(x: Tensor, center: bool) -> Tensor:
    """``x (*, C, M)`` less its mean over the positions, if told to."""
    return x - x.mean(-1, keepdim=True) if center else x


class _CenteredProduct:
    """``x_c y_cᵀ / M``, of ``x`` with itself where ``y`` is None; keeps its inputs only.

    No gradient flows through the means: it would add a sum over centred features to each position,
    and that sum is zero.
    """

    @staticmethod
    def forward(x: Tensor, y: Tensor | None, center: bool) -> Tensor:
        if y is None:  # one operand for both sides, so that BLAS gives a symmetric product
            z = centered(x, center)
            return _products(z, z) / x.shape[-1]
        return _products(centered(x, center) / x.shape[-1], centered(y, center))

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> tuple[Tensor, Tensor | None]:
        x, y, ctx.center = inputs
        return x, y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, y = ctx.saved_tensors
        grad = grad / x.shape[-1]
        if y is None:
            return (grad + grad.mT) @ centered(x, ctx.center), None, None
        gx = grad @ centered(y, ctx.center) if ctx.needs_input_grad[0] else None
        gy = grad.mT @ centered(x, ctx.center) if ctx.needs_input_grad[1] else None
        return gx, gy, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dy: Tensor | None, _: None) -> Tensor:
        x, y = ctx.saved_tensors
        M = x.shape[-1]
        if y is None and dx is not None:
            half = _products(centered(dx, ctx.center) / M, centered(x, ctx.center))
            return half + half.mT
        tangent = x.new_zeros(())
        for one, other in ((dx, y), (x, dy)):
            if one is not None and other is not None:
                first, second = centered(one, ctx.center), centered(other, ctx.center)
                tangent = tangent + _products(first / M, second)
        return tangent


_centered_product = differentiable(_CenteredProduct)


def centered_product(x: Tensor, y: Tensor | None, center: bool = True) -> Tensor:
    """The core: ``x_c y_cᵀ / M``, of ``x`` with itself where ``y`` is None."""
    return _centered_product(x, y, center)
