"""Covariance of features over positions, with no centred copy kept."""

from torch import Tensor

from covlayers.functional._base.checks import check_flag, check_number
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
from covlayers.functional.centered_product import centered_product, regularized_covariance
from covlayers.functional.position_weights import relative_weights


@full_precision
def covariance(
    x: Tensor,
    *,
    center: bool = True,
    eps: float = 0.0,
    shrinkage: float | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    r"""Covariance of channels over positions.

    .. math:: A = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr} \Sigma}{C} I + \varepsilon I,
              \qquad \Sigma = \sum_j p_j\, (x_j - \mu)(x_j - \mu)^\top, \qquad
              \mu = \sum_j p_j\, x_j

    with :math:`p_j = 1/M`, or :math:`w_j / \sum_k w_k` for weights :math:`w`.

    The features are centred before the product, so a large mean costs no accuracy; for the
    backward pass only ``x`` and the weights are kept.

    Args:
        x: features.
        center: whether to subtract the mean :math:`\mu` over the positions.
        eps: :math:`\varepsilon \ge 0`, added to the diagonal, in squared units of ``x``.
        shrinkage: :math:`s` in [0, 1], the weight of the scaled identity; None for none.
        weights: :math:`w`, at least 0, how much each position counts, or a boolean mask; None for
            equal weights. Features of weight 0 do not count, whatever they hold. Where all weights
            of a sample are 0, :math:`\Sigma = 0`.

    Shape:
        - x: :math:`(*, C, M)`, ``M`` positions
        - weights: :math:`(*, M)`, or what broadcasts to it
        - Output: :math:`(*, C, C)`

    Raises:
        InvalidValueError: if ``x`` has fewer than two dimensions, fewer than two positions (one
            without ``center``), ``eps`` or ``shrinkage`` is out of range, or ``weights`` do not
            fit ``x``, are negative or infinite (where values can be looked at: a CPU, outside vmap;
            elsewhere that sample gives NaN).
        InvalidTypeError: if ``x`` is not a real floating tensor, or ``weights`` have another dtype.

    Example:
        >>> covariance(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
        tensor([[1., 0.],
                [0., 0.]])
    """
    check_features(x, center, eps, shrinkage)
    return regularized_covariance(x, center, eps, shrinkage, relative_weights(weights, x))


@full_precision
def cross_covariance(
    x: Tensor, y: Tensor, *, center: bool = True, weights: Tensor | None = None
) -> Tensor:
    r"""Covariance of the channels of ``x`` with the channels of ``y`` over common positions.

    .. math:: A = \sum_j p_j\, (x_j - \mu_x)(y_j - \mu_y)^\top

    with the :math:`p` of :func:`covariance`.

    Args:
        x: features.
        y: features at the positions of ``x``.
        center: whether to subtract the means over the positions.
        weights: how much each position counts, as for :func:`covariance`.

    Shape:
        - x: :math:`(*, C, M)`
        - y: :math:`(*, D, M)`
        - weights: :math:`(*, M)`, or what broadcasts to it
        - Output: :math:`(*, C, D)`

    Raises:
        InvalidValueError: if the positions or devices differ, the batches do not broadcast, there
            are too few positions, or ``weights`` are wrong as for :func:`covariance`.
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
    return centered_product(x, y, center, relative_weights(weights, x, y))


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


def check_features(x: Tensor, center: bool, eps: float, shrinkage: float | None) -> None:
    """Features and the options of their covariance."""
    check_tensor("x", x, 2)
    check_flag("center", center)
    check_positions("x", x, 2 if center else 1)
    check_number("eps", eps, 0)
    if shrinkage is not None:
        check_number("shrinkage", shrinkage, 0, 1)
