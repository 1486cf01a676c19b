"""A Gaussian as one symmetric positive definite matrix."""

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_number
from covlayers.functional._base.tensors import full_precision
from covlayers.functional.covariances import covariance


@full_precision
def gaussian_embedding(
    x: Tensor, *, mean_weight: float = 1.0, eps: float = 0.0, shrinkage: float | None = None
) -> Tensor:
    r"""The Gaussian of features, mean and covariance, as one symmetric positive matrix.

    .. math:: A = \begin{pmatrix} \Sigma + w^2 \mu \mu^\top & w \mu \\ w \mu^\top & 1 \end{pmatrix}

    with the covariance :math:`\Sigma` of :func:`covariance` and the mean :math:`\mu` over the
    positions. :math:`\det A = \det \Sigma`: the embedding is positive definite where the covariance
    is.

    Args:
        x: features.
        mean_weight: :math:`w > 0`, in inverse units of ``x``: how much the mean counts.
        eps: :math:`\varepsilon \ge 0`, added to the diagonal of :math:`\Sigma`, in squared units of
            ``x``.
        shrinkage: of :math:`\Sigma`, in [0, 1], the weight of the scaled identity; None for none.

    Shape:
        - x: :math:`(*, C, M)`, ``M`` positions
        - Output: :math:`(*, C + 1, C + 1)`

    Raises:
        InvalidValueError: if ``x`` has fewer than two dimensions or two positions, or an option is
            out of range.
        InvalidTypeError: if ``x`` is not a real floating tensor.

    Example:
        >>> gaussian_embedding(torch.tensor([[1.0, 3.0]]))
        tensor([[5., 2.],
                [2., 1.]])

    Reference:
        :cite:t:`wang2017g2denet`.
    """
    check_number("mean_weight", mean_weight, 0, open_low=True)
    return embedded(x, covariance(x, eps=eps, shrinkage=shrinkage), mean_weight)


def embedded(x: Tensor, cov: Tensor, mean_weight: float) -> Tensor:
    """The core: the embedding of features ``(*, C, M)`` and their covariance."""
    mean = torch.nn.functional.pad(mean_weight * x.mean(-1), (0, 1), value=1.0)  # (*, C + 1)
    return torch.nn.functional.pad(cov, (0, 1, 0, 1)) + mean[..., :, None] * mean[..., None, :]
