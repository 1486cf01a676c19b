"""Normalisation by a matrix function of the batch covariance."""

from typing import Any, Self

import torch
from torch import Tensor

from covlayers.functional.batch_transform import affine_transform, batch_transform
from covlayers.functional.checks import InvalidValueError, check_channels
from covlayers.functional.precision import HALVES
from covlayers.modules.running_moments import RunningMoments


class CovarianceNorm(RunningMoments):
    r"""Base of the layers that normalise by a matrix function :math:`T` of the covariance.

    .. math:: y = \operatorname{diag}(\gamma)\; T(\hat\Sigma)\, (x - \mu) + \beta, \qquad
              \hat\Sigma = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{c} I
              + \varepsilon I

    per group of :math:`c` channels. A subclass offers ``matrix_function``. In training :math:`\mu`
    and :math:`\Sigma` are those of the batch; in evaluation, and once ``frozen``, running averages.
    """

    eval_matrix: Tensor  # None without track_running_stats

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        derived = torch.empty_like(self.running_cov) if self.track_running_stats else None
        self.register_buffer("eval_matrix", derived, persistent=False)
        self._derived_from: tuple[object, ...] | None = None
        self._stale = True
        self.reset_parameters()

    def matrix_function(self, cov: Tensor) -> Tensor:
        """The matrices ``(G, c, c)`` for regularised covariances ``(G, c, c)``."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C, *)``."""
        check_channels("x", x, "num_features", self.num_features)
        if not self.uses_batch:
            # Cloned, as the next update must not touch what a pending backward pass needs.
            mean, W = self.running_mean.clone(), self.evaluation_matrix().clone()
            return affine_transform(x, self.weight, self.bias, mean, W)
        group = self.batch_group(x)
        y, *statistics = batch_transform(
            x, self.weight, self.bias, self._matrix, self.num_groups, group
        )
        self.update(*statistics)
        self._stale = True
        return y

    def _matrix(self, cov: Tensor) -> Tensor:
        return self.matrix_function(self.regularized(cov))

    def evaluation_matrix(self) -> Tensor:
        """The matrices ``(G, c, c)`` for the running covariance, computed when that has changed.

        Raises:
            InvalidValueError: if the layer keeps no running averages.
        """
        if not self.track_running_stats:
            raise InvalidValueError(
                "evaluation_matrix needs track_running_stats=True, got False when the layer was "
                "built; its matrix is that of each batch."
            )
        if torch.compiler.is_compiling():
            return self._matrix(self.running_cov) if self._stale else self.eval_matrix
        if self._derived_from is None or self._derived_from != self._origin():
            with torch.inference_mode(False), torch.no_grad():
                cov = self.running_cov.clone()
                wide = cov.float() if cov.dtype in HALVES else cov
                self.eval_matrix = self._matrix(wide).to(cov.dtype)
            self._derived_from, self._stale = self._origin(), False
        return self.eval_matrix

    def _origin(self) -> tuple[object, ...] | None:
        """What changes whenever the running covariance does; None where torch cannot tell."""
        cov = self.running_cov
        if cov.is_inference():
            return None
        return cov._version, cov.data_ptr(), cov.dtype, cov.device

    def _prepare_evaluation(self) -> None:
        """Have the matrix ready for graphs that are compiled or exported from here on."""
        if self.track_running_stats and not self.training and not self.running_cov.is_meta:
            self.evaluation_matrix()

    def train(self, mode: bool = True) -> Self:
        """Choose between batch statistics (True) and running ones (False)."""
        super().train(mode)
        self._prepare_evaluation()
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._prepare_evaluation()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._stale = True
        self._prepare_evaluation()
