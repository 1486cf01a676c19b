"""Denoising by principal components as a normalisation layer."""

from functools import partial
from typing import Unpack

from covlayers.functional._base.checks import check_at_most, check_count
from covlayers.functional.core import Method
from covlayers.functional.matrix_functions import applied, check_cell
from covlayers.functional.projector import Leading
from covlayers.functional.rule import Backward
from covlayers.functional.whitening_kinds import after_standardisation
from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.modules.norms.running_moments import NormOptions


class PCANorm(CovarianceNorm):
    r"""Standardise, then keep the leading principal components: PCA denoising.

    .. math:: y = \operatorname{diag}(\gamma)\, P D^{-1/2} (x - \mu) + \beta, \qquad
              P = \sum_{i \le k} u_i u_i^\top

    with :math:`D` the diagonal of :math:`\hat\Sigma = \Sigma + \varepsilon I` and :math:`u_i` the
    leading eigenvectors of the correlation :math:`D^{-1/2} \hat\Sigma D^{-1/2}` over the batch and
    all positions.

    By default the gradient of the projector is exact, and finite while the :math:`k`-th eigenvalue
    and the next differ. The publications take ``backward="power_iteration"`` and
    ``backward="taylor_gaps"``.

    Args:
        num_features: as :class:`DecorrelatedBatchNorm`.
        num_components: components :math:`k` that are kept, at most :math:`C`.
        eps, momentum, affine, track_running_stats: as :class:`DecorrelatedBatchNorm`.
        method: ``"auto"``, ``"eigh"`` or a :class:`~covlayers.functional.SpectralMethod`.
        backward: a rule of :func:`covlayers.functional.spectral_projector`; None for the exact one.
        sync, device, dtype: as :class:`DecorrelatedBatchNorm`.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C, *)`, of rank :math:`k` before the shift

    Raises:
        InvalidValueError: as :class:`DecorrelatedBatchNorm`; for more components than channels.
        InvalidTypeError: as :class:`DecorrelatedBatchNorm`.
        UnsupportedError: if the rule does not fit the method, when the layer is built; for
            ``sync=True`` without a process group, in training.

    Example:
        >>> norm = PCANorm(16, num_components=4)
        >>> y = norm(torch.randn(32, 16, 8, 8))
        >>> torch.linalg.matrix_rank(covariance(y.transpose(0, 1).flatten(1)), rtol=1e-4)
        tensor(4)

    Reference:
        :cite:t:`wang2019backpropagation`; :cite:t:`wang2021robust`.
    """

    may_wait = True  # as an eigendecomposition does

    def __init__(
        self,
        num_features: int,
        num_components: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        method: str | Method = "auto",
        backward: str | Backward | None = None,
        **options: Unpack[NormOptions],
    ) -> None:
        super().__init__(
            num_features,
            1,
            eps=eps,
            momentum=momentum,
            affine=affine,
            track_running_stats=track_running_stats,
            **options,
        )
        check_count("num_components", num_components)
        check_at_most("num_components", num_components, "num_features", num_features)
        self.num_components = num_components
        leading = Leading(num_components)
        self.method, self.backward = check_cell((leading,), method, backward)
        projector = applied(leading, self.method, self.backward)
        self.matrix_function = partial(after_standardisation, projector)

    def extra_repr(self) -> str:
        """The options, method and rule as objects."""
        cell = f"method={self.method}, backward={self.backward}"
        return f"{super().extra_repr()}, num_components={self.num_components}, {cell}"
