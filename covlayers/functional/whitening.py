"""Whitening and coloring of features."""

from torch import Tensor

from covlayers.functional._base.tensors import (
    check_broadcast,
    check_same,
    check_shape,
    check_tensor,
    full_precision,
)


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

    Reference:
        :cite:t:`kessy2018optimal`.
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

    Reference:
        :cite:t:`li2017universal`.
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
    check_broadcast("x", x, "mean", mean.unsqueeze(-1))
    check_broadcast("x", x, name, matrix)
