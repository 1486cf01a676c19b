"""Normalisation by a matrix function of the batch covariance."""

from collections.abc import Callable
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import check_channels, full_precision
from covlayers.functional._batch.normalise import Way, affine_transform, batch_transform
from covlayers.modules._derived_buffers import DerivedBuffers
from covlayers.modules._made_once import regularized_in_float64
from covlayers.modules.norms.running_moments import MomentsOptions, RunningMoments


class CovarianceNorm(RunningMoments, DerivedBuffers):
    r"""Base of the layers that normalise by a matrix function :math:`T` of the covariance.

    .. math:: y = \operatorname{diag}(\gamma)\; T(\hat\Sigma)\, (x - \mu) + \beta, \qquad
              \hat\Sigma = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{c} I
              + \varepsilon I

    per group of :math:`c` channels. A subclass sets ``matrix_function``, which gives the matrices
    for regularised covariances, both ``(G, c, c)``. In training :math:`\mu` and :math:`\Sigma` come
    from the batch; in evaluation, and once ``frozen``, they are the running averages.
    """

    eval_matrix: Tensor  # None without track_running_stats
    matrix_function: Callable[[Tensor], Tensor]

    def __init__(
        self, num_features: int, num_groups: int, **options: Unpack[MomentsOptions]
    ) -> None:
        super().__init__(num_features, num_groups, **options)
        empty = torch.full_like(self.running_cov, torch.nan) if self.track_running_stats else None
        self.register_buffer("eval_matrix", empty, persistent=False)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C, *)``."""
        check_channels("x", x, "num_features", self.num_features)
        if not self.uses_batch:
            mean: Any = self._buffers["running_mean"]
            W = self.evaluation_matrix()
            if torch.is_grad_enabled():  # the next update must not touch what a gradient needs
                mean, W = mean.clone(), W.clone()
            return affine_transform(x, self.weight, self.bias, mean, W)
        group = self.batch_group(x)
        y, mean, cov, positions = batch_transform(
            x, self.weight, self.bias, self._way, self.num_groups, group
        )
        self.update(mean, cov, positions)
        self.outdate()
        return y

    @property
    def _way(self) -> Way:
        return Way(self.matrix_function, self.eps, self.shrinkage)

    @full_precision
    def _matrix(self, cov: Tensor, mean: Tensor) -> Tensor:
        mean = mean.view(cov.shape[:-1])
        A = regularized_in_float64(cov, mean, self.eps, self.shrinkage)
        return self.matrix_function(A).to(cov.dtype)

    def evaluation_matrix(self) -> Tensor:
        """The matrices ``(G, c, c)`` for the running covariance, computed when that has changed.

        Raises:
            InvalidValueError: if the layer keeps no running averages.
        """
        if not self.track_running_stats:
            raise InvalidValueError(
                "evaluation_matrix needs track_running_stats=True, got False when the layer was "
                "built; its matrix depends on each batch."
            )
        if not self.refresh():
            return self._matrix(*self.sources())
        matrix: Any = self._buffers["eval_matrix"]
        return matrix

    def sources(self) -> tuple[Tensor, ...]:
        if not self.track_running_stats:
            return ()
        # By name a module looks in three places, which in evaluation is a tenth of the time.
        buffers: dict[str, Any] = self._buffers
        return buffers["running_cov"], buffers["running_mean"]

    def derivable(self) -> bool:
        return self.track_running_stats and not self.training

    def derive(self) -> None:
        self.eval_matrix = self._matrix(self.running_cov.clone(), self.running_mean)

    def train(self, mode: bool = True) -> Self:
        """Choose between batch statistics (True) and running ones (False)."""
        super().train(mode)
        if mode:  # the replay of a CUDA graph moves the averages, and no counter of theirs
            self.outdate()
        self.prepare()
        return self
