"""Regularisers of networks whose features are to be whitened and coloured."""

from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional._base.checks import check_count, check_divides
from covlayers.functional._base.linalg import identity_like
from covlayers.functional._base.tensors import check_square, full_precision
from covlayers.modules.style._inputs import check_features, grouped


def _distance(A: Tensor) -> Tensor:
    return (A - identity_like(A)).abs().mean()


class WhiteningLoss(nn.Module):
    r"""How far features are from white, within groups of channels.

    .. math:: \mathcal{L} = \operatorname{mean} \bigl| \Sigma_g - I \bigr|

    over the entries of the covariances of all samples and groups. As a term of the training loss it
    keeps the features of the content nearly white, so that subtracting the mean whitens them.

    Args:
        num_groups: groups of channels; must divide the channels.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: a scalar, at least 0

    Raises:
        InvalidValueError: if the groups do not divide the channels, or there are fewer than two
            positions.
        InvalidTypeError: if ``num_groups`` is no int or the input not real floating.

    Example:
        >>> loss = WhiteningLoss(num_groups=8)
        >>> bool(loss(torch.randn(2, 64, 32, 32)) < loss(torch.ones(2, 64, 32, 32)))
        True

    Reference:
        :cite:t:`cho2019image`, who sum over the entries where this takes the mean.
    """

    def __init__(self, num_groups: int = 1) -> None:
        super().__init__()
        check_count("num_groups", num_groups)
        self.num_groups = num_groups

    def forward(self, x: Tensor) -> Tensor:
        """The mean distance of the entries from the entries of the identity."""
        check_features("x", x)
        check_divides("num_groups", self.num_groups, "the channels of x", x.shape[1])
        return _distance(F.covariance(grouped(x, self.num_groups))).to(x.dtype)

    def extra_repr(self) -> str:
        """The groups."""
        return f"num_groups={self.num_groups}"


class ColoringOrthogonalityLoss(nn.Module):
    r"""How far the directions of predicted coloring matrices are from orthogonal.

    A network that predicts a style as a square matrix :math:`X = U D`, with the norms of its
    columns in the diagonal :math:`D`, colours with :math:`C = U D U^\top`, see
    :func:`covlayers.functional.color`. The closer :math:`U` is to orthogonal, the closer :math:`C`
    is to a matrix square root with the eigenvalues :math:`D`:

    .. math:: \mathcal{L} = \operatorname{mean} \bigl| U^\top U - I \bigr|

    over the entries of all matrices.

    Shape:
        - Input: :math:`(*, n, n)`, the matrices :math:`X`
        - Output: a scalar, at least 0

    Raises:
        InvalidValueError: if the input is not square.
        InvalidTypeError: if the input is not a real floating tensor.

    Example:
        >>> loss = ColoringOrthogonalityLoss()
        >>> loss(torch.tensor([[3.0, 0.0], [0.0, 2.0]])).item()
        0.0
        >>> loss(torch.tensor([[3.0, 2.0], [0.0, 0.0]])).item()
        0.5

    Reference:
        :cite:t:`cho2019image`, who sum over the entries where this takes the mean.
    """

    @staticmethod
    @full_precision
    def forward(X: Tensor) -> Tensor:
        """The mean distance of the entries of ``UᵀU`` from the entries of the identity."""
        check_square("X", X)
        U = nn.functional.normalize(X, dim=-2)
        return _distance(U.mT @ U)
