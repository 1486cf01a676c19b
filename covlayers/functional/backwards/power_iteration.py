"""The gradient of power iteration with deflation, in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count
from covlayers.functional.backwards._gap_rule import GapRule, geometric_sum, larger_and_ratio


@dataclass(frozen=True)
class PowerIteration(GapRule):
    r"""Gradient of power iteration, eigenvector by eigenvector, deflating the matrix.

    For the leading pair :math:`(\lambda, v)` of the deflated matrix :math:`M`,

    .. math:: g_M = \sum_{k=0}^{K} \frac{M^k (I - v v^\top)}{\lVert M v \rVert^{k+1}}\, g_v v^\top,

    and what the deflation :math:`M' = M - \lambda v v^\top` sends back. In the eigenbasis all of it
    is diagonal: with :math:`r = \lambda_i/\lambda_j \le 1`, the smaller eigenvalue in row
    :math:`i`,

    .. math:: K_{ij} = \frac1{\lambda_j} \sum_{k=0}^{K} r^k, \qquad
              K_{ji} = -\frac1{\lambda_j} \sum_{k=0}^{K-1} r^k .

    The second sum lacks a term: that is the deflation error, and the difference from
    :class:`TaylorGaps`. No matrix is raised to a power. For positive eigenvalues.

    Args:
        iterations: :math:`K \ge 0`.

    Raises:
        InvalidValueError: if ``iterations`` is negative.
        InvalidTypeError: if ``iterations`` is not an int.
        UnsupportedError: for a second derivative.

    Example:
        >>> PowerIteration(iterations=1).inverse_gaps(torch.tensor([1.0, 2.0]))
        tensor([[ 0.0000,  0.7500],
                [-0.5000,  0.0000]])

    Reference:
        :cite:t:`wang2019backpropagation`.
    """

    iterations: int = 19

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations, at_least=0)

    def inverse_gaps(self, values: Tensor) -> Tensor:
        larger, ratio = larger_and_ratio(values)
        below = geometric_sum(ratio, self.iterations) / larger
        above = -geometric_sum(ratio, self.iterations - 1) / larger
        # Eigenvalues ascend, so the larger of a pair has the higher index.
        K = torch.triu(below, 1) + torch.tril(above, -1)
        return torch.where(values[..., :, None] == values[..., None, :], 0.0, K)
