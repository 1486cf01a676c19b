"""Covariance of features over positions, with no centred copy kept."""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.checks import (
    check_broadcast,
    check_flag,
    check_number,
    check_positions,
    check_same,
    check_shape,
    check_square,
    check_tensor,
)
from covlayers.functional._base.function import compiles_whole, refuse_nested_forward_mode
from covlayers.functional._base.linalg import identity_like, symmetric, trace
from covlayers.functional._base.precision import full_precision, no_autocast


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
    check_tensor("x", x, 2)
    check_flag("center", center)
    check_positions("x", x, 2 if center else 1)
    check_number("eps", eps, 0)
    return regularized(_product(x, None, center), eps, shrinkage)


@full_precision
def cross_covariance(x: Tensor, y: Tensor, *, center: bool = True) -> Tensor:
    r"""Covariance of the channels of ``x`` with those of ``y`` over common positions.

    .. math:: A = \tfrac1M (x - \mu_x)(y - \mu_y)^\top

    Args:
        x: features.
        y: features at the same positions.
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
    return _product(x, y, center)


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
    mean = trace(cov) / max(cov.shape[-1], 1)
    return (1 - shrinkage) * cov + shrinkage * mean * identity_like(cov)


def regularized(cov: Tensor, eps: float, shrinkage: float | None = None) -> Tensor:
    """Covariances shrunk, if told to, and with ``eps`` on their diagonal."""
    if shrinkage is not None:
        cov = shrink(cov, shrinkage)
    return cov + eps * identity_like(cov) if eps else cov


FEW_CHANNELS, BLOCK = 16, 2**10
"""Of fewer channels BLAS adds position after position, so sums are taken in blocks of so many."""


def _products(x: Tensor, y: Tensor) -> Tensor:
    """``x yᵀ``: one product, or a sum over blocks where one would add too many roundings."""
    M = x.shape[-1]
    if min(x.shape[-2], y.shape[-2]) >= FEW_CHANNELS or M < 16 * BLOCK:
        return x @ y.mT
    whole = M - M % BLOCK
    blocks = (z[..., :whole].unflatten(-1, (-1, BLOCK)).movedim(-2, -3) for z in (x, y))
    first, second = blocks  # (*, M / BLOCK, C, BLOCK)
    return (first @ second.mT).sum(-3) + x[..., whole:] @ y[..., whole:].mT


def _product(x: Tensor, y: Tensor | None, center: bool) -> Tensor:
    function = _CenteredProduct if compiles_whole() else _CenteredProductWithJvp
    return function.apply(x, y, center)


def _centered(x: Tensor, center: bool) -> Tensor:
    return x - x.mean(-1, keepdim=True) if center else x


class _CenteredProduct(torch.autograd.Function):
    """``x_c y_cᵀ / M``, of ``x`` with itself where ``y`` is None; keeps its inputs alone.

    No gradient flows through the means: what it would add to each position is the gradient's sum
    over centred features, and that is zero.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor | None, center: bool) -> Tensor:
        first = _centered(x, center)
        second = first if y is None else _centered(y, center)
        return _products(first / x.shape[-1], second)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, y, ctx.center = inputs
        ctx.save_for_backward(x, y)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, y = ctx.saved_tensors
        with no_autocast(grad):
            grad = grad / x.shape[-1]
            if y is None:
                return 2 * symmetric(grad) @ _centered(x, ctx.center), None, None
            gx = grad @ _centered(y, ctx.center) if ctx.needs_input_grad[0] else None
            gy = grad.mT @ _centered(x, ctx.center) if ctx.needs_input_grad[1] else None
            return gx, gy, None


class _CenteredProductWithJvp(_CenteredProduct):
    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _CenteredProduct.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[0], inputs[1])

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, dy: Tensor | None, _: None) -> Tensor:
        refuse_nested_forward_mode()
        x, y = ctx.saved_tensors
        with no_autocast(x):
            M = x.shape[-1]
            if y is None:
                assert dx is not None
                half = _products(_centered(dx, ctx.center) / M, _centered(x, ctx.center))
                return half + half.mT
            tangent = x.new_zeros(())
            if dx is not None:
                tangent = tangent + _products(
                    _centered(dx, ctx.center) / M, _centered(y, ctx.center)
                )
            if dy is not None:
                tangent = tangent + _products(
                    _centered(x, ctx.center) / M, _centered(dy, ctx.center)
                )
            return tangent
