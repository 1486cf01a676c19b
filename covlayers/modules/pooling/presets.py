"""Global covariance pooling as its papers do it: the presets of :class:`CovPool`."""

from typing import Unpack

from covlayers import functional as F
from covlayers.modules._factory import Factory
from covlayers.modules.pooling.covariance_pooling import CovPool


class CovPoolOptions(Factory, total=False):
    """The options that every preset passes on to :class:`CovPool`."""

    vectorize: str
    eps: float
    shrinkage: float | None
    mean_weight: float | None
    side: str


class MPNCovPool(CovPool):
    r"""Covariance pooling, normalised by the exact root (MPN-COV).

    .. math:: Y = U \Lambda^{1/2} U^\top, \qquad K_{ij} = 1/(\lambda_j - \lambda_i)

    The gradient is exact while the eigenvalues differ and without bound as they meet; for the exact
    and bounded one take ``CovPool(method="eigh", backward="loewner")``.

    Args:
        in_channels, reduced_channels: as :class:`CovPool`.
        vectorize, eps, shrinkage, mean_weight, side, device, dtype: as :class:`CovPool`.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C(C+1)/2)`

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`CovPool`.

    Example:
        >>> MPNCovPool()(torch.randn(8, 64, 7, 7)).shape
        torch.Size([8, 2080])

    Reference:
        :cite:t:`li2017second`.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        reduced_channels: int | None = None,
        **options: Unpack[CovPoolOptions],
    ) -> None:
        method, backward = F.Eigh(), F.ExactGaps()
        super().__init__(in_channels, reduced_channels, method=method, backward=backward, **options)


class ISQRTCovPool(CovPool):
    r"""Covariance pooling, normalised by Newton-Schulz iteration (iSQRT-COV).

    .. math:: Y_0 &= A/\operatorname{tr}A, \quad Z_0 = I, \quad W = \tfrac12 (3I - Z_k Y_k),

              Y_{k+1} &= Y_k W, \quad Z_{k+1} = W Z_k, \qquad Y = \sqrt{\operatorname{tr}A}\; Y_N

    differentiated through its steps. Five of them do not converge: small eigenvalues come out
    damped, which regularises.

    Args:
        in_channels, reduced_channels: as :class:`CovPool`.
        iterations: Newton-Schulz steps :math:`N \ge 1`.
        vectorize, eps, shrinkage, mean_weight, side, device, dtype: as :class:`CovPool`.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C(C+1)/2)`

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`CovPool`.

    Example:
        >>> ISQRTCovPool()(torch.randn(8, 64, 7, 7)).shape
        torch.Size([8, 2080])

    Reference:
        :cite:t:`li2018towards`.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        reduced_channels: int | None = None,
        *,
        iterations: int = 5,
        **options: Unpack[CovPoolOptions],
    ) -> None:
        method, backward = F.NewtonSchulz(iterations), F.Autograd()
        super().__init__(in_channels, reduced_channels, method=method, backward=backward, **options)


class MTPCovPool(CovPool):
    r"""Covariance pooling, normalised by a Taylor polynomial with a Lyapunov gradient (MTP).

    .. math:: Y = \lVert A \rVert_F^{1/2} \sum_{k=0}^{K} \binom{1/2}{k} (-B)^k, \qquad
              B = I - A/\lVert A \rVert_F, \qquad Y g_A + g_A Y = g_Y

    See :class:`~covlayers.functional.Taylor` and :class:`~covlayers.functional.Lyapunov` for their
    floors.

    Args:
        in_channels, reduced_channels: as :class:`CovPool`.
        degree: degree :math:`K \ge 1` of the polynomial.
        iterations: steps of the Lyapunov solver, at least 1.
        vectorize, eps, shrinkage, mean_weight, side, device, dtype: as :class:`CovPool`.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C(C+1)/2)`

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`CovPool`.

    Example:
        >>> MTPCovPool()(torch.randn(8, 64, 7, 7)).shape
        torch.Size([8, 2080])

    Reference:
        :cite:t:`song2022fast`.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        reduced_channels: int | None = None,
        *,
        degree: int = 10,
        iterations: int = 8,
        **options: Unpack[CovPoolOptions],
    ) -> None:
        method, backward = F.Taylor(degree), F.Lyapunov(iterations)
        super().__init__(in_channels, reduced_channels, method=method, backward=backward, **options)


class MPACovPool(CovPool):
    r"""Covariance pooling, normalised by a Padé approximant with a Lyapunov gradient (MPA).

    .. math:: Y = \lVert A \rVert_F^{1/2}\, Q(B)^{-1} P(B), \qquad
              B = I - A/\lVert A \rVert_F, \qquad Y g_A + g_A Y = g_Y,

    where :math:`P/Q` is the diagonal Padé approximant of :math:`\sqrt{1-z}`. The gradient needs
    :math:`Y` only. See :class:`~covlayers.functional.Pade` and
    :class:`~covlayers.functional.Lyapunov` for their floors.

    Args:
        in_channels, reduced_channels: as :class:`CovPool`.
        degree: degree of :math:`P` and :math:`Q`, at least 1.
        iterations: steps of the Lyapunov solver, at least 1.
        vectorize, eps, shrinkage, mean_weight, side, device, dtype: as :class:`CovPool`.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C(C+1)/2)`

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`CovPool`.

    Example:
        >>> MPACovPool()(torch.randn(8, 64, 7, 7)).shape
        torch.Size([8, 2080])

    Reference:
        :cite:t:`song2022fast`.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        reduced_channels: int | None = None,
        *,
        degree: int = 5,
        iterations: int = 8,
        **options: Unpack[CovPoolOptions],
    ) -> None:
        method, backward = F.Pade(degree), F.Lyapunov(iterations)
        super().__init__(in_channels, reduced_channels, method=method, backward=backward, **options)
