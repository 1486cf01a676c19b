"""The projector on the leading eigenvectors, differentiated across the cut alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_at_most, check_count
from covlayers.functional._base.tensors import check_square, full_precision
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.matrix_functions import checked
from covlayers.functional.rule import Backward


@dataclass(frozen=True)
class Leading(MatrixFunction):
    r"""1 for the ``rank`` largest eigenvalues, 0 for the others.

    Divided differences are :math:`\pm 1/(\lambda_i - \lambda_j)` between the two sides of the cut
    and zero within each: equal eigenvalues matter at the cut only.
    """

    rank: int

    name = "spectral_projector"
    positive = False

    def f(self, values: Tensor) -> Tensor:
        n = values.shape[-1]
        leads = torch.arange(n, device=values.device) >= n - self.rank
        return leads.to(values.dtype).expand(values.shape)

    def df(self, values: Tensor) -> Tensor:
        return torch.zeros_like(values)

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        leads = self.f(a.squeeze(-1))
        step = leads[..., :, None] - leads[..., None, :]
        gap = torch.where(a == b, 1.0, a - b)
        return torch.where(a == b, 0.0, step / gap)


@full_precision
def spectral_projector(
    A: Tensor, rank: int, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> Tensor:
    r"""The projector on the leading eigenvectors of symmetric matrices.

    .. math:: P = \sum_{i \le r} u_i u_i^\top, \qquad
              g_A = U \bigl( K \circ (U^\top g_P U) \bigr) U^\top, \quad
              K_{ij} = \frac{1}{\lambda_i - \lambda_j}

    for :math:`i` and :math:`j` on different sides of the cut, with :math:`\lambda_i` the larger,
    and zero else. By default the gradient is this exact one: finite while :math:`\lambda_r` and
    :math:`\lambda_{r+1}` differ, however close the other eigenvalues are. It has no second
    derivative.

    Args:
        A: symmetric matrices, of any sign.
        rank: :math:`r`, from 1 to :math:`n`.
        method: ``"auto"``, ``"eigh"`` or a :class:`SpectralMethod`.
        backward: ``"loewner"`` (default, exact), a gap rule, or ``"autograd"``.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: as :func:`sqrtm`, and if ``rank`` is out of range.
        InvalidTypeError: as :func:`sqrtm`, and if ``rank`` is not an int.
        UnsupportedError: for a method without a spectrum or a rule for the roots alone.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> spectral_projector(torch.tensor([[4.0, 0.0], [0.0, 9.0]]), 1)
        tensor([[0., 0.],
                [0., 1.]])

    Reference:
        :cite:t:`ionescu2015matrix`; :cite:t:`wang2019backpropagation`.
    """
    check_square("A", A)
    check_count("rank", rank)
    check_at_most("rank", rank, "A.shape[-1]", A.shape[-1])
    return checked((Leading(rank),), A, method, backward)[0]
