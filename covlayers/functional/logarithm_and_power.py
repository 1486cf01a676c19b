"""The doors of the logarithm and of real powers."""

import math

from torch import Tensor

from covlayers.functional._base.checks import check_number
from covlayers.functional._base.tensors import full_precision
from covlayers.functional.core import Method
from covlayers.functional.functions import LOG, power
from covlayers.functional.matrix_functions import checked
from covlayers.functional.rule import Backward


@full_precision
def logm(
    A: Tensor, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> Tensor:
    r"""Logarithm of symmetric positive definite matrices.

    .. math:: \log A = U \log(\Lambda)\, U^\top

    Args:
        A: symmetric positive definite matrices, as for :func:`sqrtm`.
        method: ``"auto"``, ``"eigh"`` or a :class:`SpectralMethod`.
        backward: ``"loewner"`` (default), a gap rule, or ``"autograd"``.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: as :func:`sqrtm`.
        InvalidTypeError: as :func:`sqrtm`.
        UnsupportedError: for a method or a rule that serves the roots alone.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> logm(torch.eye(2))
        tensor([[0., 0.],
                [0., 0.]])

    Reference:
        :cite:t:`ionescu2015matrix`; :cite:t:`higham2008functions`, chapter 11.
    """
    return checked((LOG,), A, method, backward)[0]


@full_precision
def powm(
    A: Tensor, p: float, *, method: str | Method = "auto", backward: str | Backward | None = None
) -> Tensor:
    r"""Real power of symmetric positive definite matrices.

    .. math:: A^p = U \Lambda^p U^\top

    Args:
        A: symmetric positive definite matrices, as for :func:`sqrtm`.
        p: any finite exponent; 1/2 and -1/2 are :func:`sqrtm` and :func:`invsqrtm` themselves.
        method: ``"auto"``, ``"eigh"`` or a :class:`SpectralMethod`.
        backward: ``"loewner"`` (default), a gap rule, or ``"autograd"``.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: as :func:`sqrtm`, and if ``p`` is not finite.
        InvalidTypeError: as :func:`sqrtm`, and if ``p`` is not a real number.
        UnsupportedError: for a method or a rule that serves the roots alone.
        ConvergenceError: as :func:`sqrtm`.

    Example:
        >>> powm(torch.tensor([[8.0, 0.0], [0.0, 27.0]]), 1 / 3)
        tensor([[2., 0.],
                [0., 3.]])

    Reference:
        :cite:t:`li2017second`; :cite:t:`higham2008functions`, chapter 7.
    """
    check_number("p", p, -math.inf)
    return checked((power(p),), A, method, backward)[0]
