"""The choices of how to invert the gaps between eigenvalues: exact, bounded, or by a series."""

from dataclasses import dataclass

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count, check_number
from covlayers.functional.backwards._gap_rule import (
    GapRule,
    gaps,
    geometric_sum,
    larger_and_ratio,
    sign_of_gap,
    tied,
)


@dataclass(frozen=True)
class ExactGaps(GapRule):
    r"""The exact :math:`K_{ij} = 1/(\lambda_j - \lambda_i)`.

    Exact while the eigenvalues differ, and without bound as they meet. Two eigenvalues that differ
    by :math:`8 \sqrt n \epsilon \max |\lambda|` or less, which rounding alone may cause, are a tie,
    and their :math:`K_{ij}` is zero. A function of whole eigenspaces, which does not depend on the
    choice of eigenvectors within them, thereby has its exact gradient.

    Raises:
        UnsupportedError: for a second derivative of a matrix function. The second derivative of
            :func:`~covlayers.functional.eigh` is right.

    Example:
        >>> from covlayers.functional import eigh
        >>> A = torch.diag(torch.tensor([1.0, 2.0])).requires_grad_()
        >>> values, vectors = eigh(A, backward=ExactGaps())

    Reference:
        :cite:t:`ionescu2015matrix`; :cite:t:`li2017second`; :cite:t:`huang2018decorrelated`.
    """

    def inverse_gaps(self, values: Tensor) -> Tensor:
        tie = tied(values)
        return torch.where(tie, 0, 1 / torch.where(tie, 1, gaps(values)))


@dataclass(frozen=True)
class ClippedGaps(GapRule):
    r"""Gaps clipped from below: :math:`K = \operatorname{sign}(d) / \max(|d|, \delta)`.

    Args:
        min_gap: :math:`\delta > 0`, in the units of the eigenvalues.

    Raises:
        InvalidValueError: if ``min_gap`` is not positive and finite.
        InvalidTypeError: if ``min_gap`` is not a real number.
        UnsupportedError: for a second derivative.

    Example:
        >>> ClippedGaps().inverse_gaps(torch.tensor([1.0, 1.001]))
        tensor([[   0.,  100.],
                [-100.,    0.]])

    Reference:
        The baseline of :cite:t:`wang2021robust`.
    """

    min_gap: float = 0.01

    def __post_init__(self) -> None:
        check_number("min_gap", self.min_gap, 0, open_low=True)

    def inverse_gaps(self, values: Tensor) -> Tensor:
        d = gaps(values)
        return torch.sign(d) / d.abs().clamp_min(self.min_gap)


@dataclass(frozen=True)
class TruncatedGaps(GapRule):
    r"""Inverse gaps truncated (SVD-Trunc): :math:`K = \operatorname{clamp}(1/d, -T, T)`.

    Args:
        max_slope: :math:`T > 0`, in inverse units of the eigenvalues.

    Raises:
        InvalidValueError: if ``max_slope`` is not positive and finite.
        InvalidTypeError: if ``max_slope`` is not a real number.
        UnsupportedError: for a second derivative.

    Example:
        >>> TruncatedGaps(max_slope=10.0).inverse_gaps(torch.tensor([1.0, 1.001]))
        tensor([[  0.,  10.],
                [-10.,   0.]])

    Reference:
        :cite:t:`song2021approximate`.
    """

    max_slope: float = 1e10

    def __post_init__(self) -> None:
        check_number("max_slope", self.max_slope, 0, open_low=True)

    def inverse_gaps(self, values: Tensor) -> Tensor:
        return ExactGaps().inverse_gaps(values).clamp(-self.max_slope, self.max_slope)


@dataclass(frozen=True)
class TaylorGaps(GapRule):
    r"""Truncated geometric series.

    For :math:`\lambda_i > \lambda_j`,

    .. math:: \frac1{\lambda_i - \lambda_j} \approx \frac1{\lambda_i} \sum_{k=0}^{K}
              \Bigl(\frac{\lambda_j}{\lambda_i}\Bigr)^k,

    antisymmetric, bounded by :math:`(K+1)/\lambda_i`, and zero at an exact tie, where the paper's
    formula, being antisymmetric, has no value. For positive eigenvalues.

    Args:
        degree: :math:`K \ge 0`; 9 in Robust Differentiable SVD, 100 in SVD-Taylor.

    Raises:
        InvalidValueError: if ``degree`` is negative.
        InvalidTypeError: if ``degree`` is not an int.
        UnsupportedError: for a second derivative.

    Example:
        >>> TaylorGaps(degree=1).inverse_gaps(torch.tensor([1.0, 2.0]))
        tensor([[ 0.0000,  0.7500],
                [-0.7500,  0.0000]])

    Reference:
        :cite:t:`wang2021robust`; :cite:t:`song2021approximate`.
    """

    degree: int = 9

    def __post_init__(self) -> None:
        check_count("degree", self.degree, at_least=0)

    def inverse_gaps(self, values: Tensor) -> Tensor:
        larger, ratio = larger_and_ratio(values)
        return sign_of_gap(values) * geometric_sum(ratio, self.degree) / larger


@dataclass(frozen=True)
class PadeGaps(GapRule):
    r"""Diagonal Padé approximant of the series of :class:`TaylorGaps` (SVD-Padé).

    The series of :math:`1/(1-x)` is rational, so its :math:`[m/m]` approximant is the function
    itself for every :math:`m \ge 1`: away from ties the rule is exact, whatever the degree. The
    relative gap :math:`1 - \lambda_j/\lambda_i` is kept above machine epsilon, which bounds it by
    :math:`1/(\epsilon\lambda_i)`.

    Args:
        degree: :math:`m \ge 1`, as the paper writes it.

    Raises:
        InvalidValueError: if ``degree`` is below 1.
        InvalidTypeError: if ``degree`` is not an int.
        UnsupportedError: for a second derivative.

    Example:
        >>> PadeGaps().inverse_gaps(torch.tensor([1.0, 2.0]))
        tensor([[ 0.,  1.],
                [-1.,  0.]])

    Reference:
        :cite:t:`song2021approximate`.
    """

    degree: int = 50

    def __post_init__(self) -> None:
        check_count("degree", self.degree)

    def inverse_gaps(self, values: Tensor) -> Tensor:
        larger, ratio = larger_and_ratio(values)
        relative_gap = (1 - ratio).clamp_min(torch.finfo(values.dtype).eps)
        return sign_of_gap(values) / relative_gap / larger


@dataclass(frozen=True)
class LorentzianGaps(GapRule):
    r"""Lorentzian broadening: :math:`K = d / (d^2 + \varepsilon)`.

    Args:
        broadening: :math:`\varepsilon > 0`, in squared units of the eigenvalues.

    Raises:
        InvalidValueError: if ``broadening`` is not positive and finite.
        InvalidTypeError: if ``broadening`` is not a real number.
        UnsupportedError: for a second derivative.

    Example:
        >>> LorentzianGaps(broadening=0.01).inverse_gaps(torch.tensor([1.0, 1.5]))
        tensor([[ 0.0000,  1.9231],
                [-1.9231,  0.0000]])

    Reference:
        :cite:t:`liao2019differentiable`.
    """

    broadening: float = 1e-12

    def __post_init__(self) -> None:
        check_number("broadening", self.broadening, 0, open_low=True)

    def inverse_gaps(self, values: Tensor) -> Tensor:
        d = gaps(values)
        return 1 / (d + self.broadening / d)  # zero at a tie, and no square overflows
