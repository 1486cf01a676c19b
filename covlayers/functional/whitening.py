"""Whitening and coloring of features."""

from torch import Tensor

from covlayers.functional.checks import (
    InvalidValueError,
    check_number,
    check_positions,
    check_same,
    check_shape,
    check_tensor,
)
from covlayers.functional.core import Method
from covlayers.functional.covariance import covariance
from covlayers.functional.matrix_functions import invsqrtm, sqrtm
from covlayers.functional.precision import full_precision
from covlayers.functional.rule import Backward


@full_precision
def whiten(x: Tensor, mean: Tensor, W: Tensor) -> Tensor:
    r"""Whiten features: :math:`W (x - \mu)`.

    Args:
        x: features.
        mean: :math:`\mu`, one number per channel.
        W: a whitening matrix, see :func:`whitening_matrix`; with fewer rows than columns it also
            projects.

    Shape:
        - x: :math:`(*, C, M)`
        - mean: :math:`(*, C)`
        - W: :math:`(*, K, C)`
        - Output: :math:`(*, K, M)`

    Raises:
        InvalidValueError: if the shapes do not fit or the devices differ.
        InvalidTypeError: if a dtype is wrong or they differ.

    Example:
        >>> x = torch.tensor([[0.0, 2.0], [4.0, 4.0]])
        >>> whiten(x, torch.tensor([1.0, 4.0]), 2 * torch.eye(2))
        tensor([[-2.,  2.],
                [ 0.,  0.]])
    """
    _check_parts(x, mean, "W", W)
    channels = x.shape[-2]
    check_shape("mean", mean, (channels,), "for the channels of x")
    check_shape("W", W, (W.shape[-2], channels), "for the channels of x")
    return W @ (x - mean.unsqueeze(-1))


@full_precision
def color(x: Tensor, mean: Tensor, C: Tensor) -> Tensor:
    r"""Color white features: :math:`C x + \mu`.

    Args:
        x: white features.
        mean: :math:`\mu`, the mean to give them.
        C: a root of the covariance to give them, for instance :func:`sqrtm` of it.

    Shape:
        - x: :math:`(*, K, M)`
        - mean: :math:`(*, C)`
        - C: :math:`(*, C, K)`
        - Output: :math:`(*, C, M)`

    Raises:
        InvalidValueError: if the shapes do not fit or the devices differ.
        InvalidTypeError: if a dtype is wrong or they differ.

    Example:
        >>> color(torch.tensor([[-1.0, 1.0]]), torch.tensor([5.0]), torch.tensor([[2.0]]))
        tensor([[3., 7.]])
    """
    _check_parts(x, mean, "C", C)
    check_shape("C", C, (mean.shape[-1], x.shape[-2]), "for the channels of mean and x")
    return C @ x + mean.unsqueeze(-1)


def _check_parts(x: Tensor, mean: Tensor, name: str, matrix: Tensor) -> None:
    check_tensor("x", x, 2)
    check_tensor("mean", mean, 1)
    check_tensor(name, matrix, 2)
    check_same("x", x, "mean", mean)
    check_same("x", x, name, matrix)


@full_precision
def whiten_color(
    content: Tensor,
    style: Tensor,
    *,
    alpha: float = 1.0,
    eps: float = 1e-5,
    method: str | Method = "auto",
    backward: str | Backward | None = None,
) -> Tensor:
    r"""Give content features the mean and covariance of style features.

    .. math:: y = \alpha \bigl( \Sigma_s^{1/2} \Sigma_c^{-1/2} (x - \mu_c) + \mu_s \bigr)
              + (1 - \alpha)\, x, \qquad \Sigma = \operatorname{cov} + \varepsilon I

    Content and style of one covariance give back the content.

    Args:
        content: features :math:`x` to transform.
        style: features to resemble, at any number of positions.
        alpha: strength in [0, 1].
        eps: :math:`\varepsilon \ge 0`, added to both covariances, in squared units of the features.
        method: how to compute the roots, as for :func:`sqrtm`.
        backward: how to differentiate them, as for :func:`sqrtm`.

    Shape:
        - content: :math:`(*, C, M)`
        - style: :math:`(*, C, M')`
        - Output: :math:`(*, C, M)`

    Raises:
        InvalidValueError: if the channels, batches or devices differ, there are fewer than two
            positions, or ``alpha`` or ``eps`` is out of range.
        InvalidTypeError: if a dtype is wrong or they differ.

    Example:
        >>> content, style = torch.randn(3, 100), 2 * torch.randn(3, 50) + 1
        >>> y = whiten_color(content, style)
        >>> torch.allclose(y.mean(-1), style.mean(-1), atol=1e-4)
        True

    Reference:
        :cite:t:`li2017universal`.
    """
    check_tensor("content", content, 2)
    check_tensor("style", style, 2)
    check_same("content", content, "style", style)
    if content.shape[:-1] != style.shape[:-1]:
        raise InvalidValueError(
            "style must have the batch and channels of content, "
            f"{tuple(content.shape[:-1])}, got {tuple(style.shape[:-1])}."
        )
    check_positions("content", content, 2)
    check_positions("style", style, 2)
    check_number("alpha", alpha, 0, 1)
    check_number("eps", eps, 0)
    W = invsqrtm(covariance(content, eps=eps), method=method, backward=backward)
    C = sqrtm(covariance(style, eps=eps), method=method, backward=backward)
    whitened = whiten(content, content.mean(-1), W)
    return alpha * color(whitened, style.mean(-1), C) + (1 - alpha) * content
