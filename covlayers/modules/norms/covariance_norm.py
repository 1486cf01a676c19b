"""Normalisation by a matrix function of the batch covariance."""

from collections.abc import Callable
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.linalg import regularized
from covlayers.functional._base.tensors import check_channels, full_precision
from covlayers.functional._batch.normalise import Way, affine_transform, batch_transform
from covlayers.modules._derived_matrices import DerivedMatrices, Options
from covlayers.modules._made_once import regularized_in_float64
from covlayers.modules.norms.running_moments import MomentsOptions, RunningMoments


class CovarianceNorm(RunningMoments, DerivedMatrices):
    r"""Base of the layers that normalise by a matrix function :math:`T` of the covariance.

    .. math:: y = \operatorname{diag}(\gamma)\; T(\hat\Sigma)\, (x - \mu) + \beta, \qquad
              \hat\Sigma = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{c} I
              + \varepsilon I

    per group of :math:`c` channels. A subclass sets ``matrix_function``, which gives the matrices
    for regularised covariances, both ``(G, c, c)``. In training :math:`\mu` and :math:`\Sigma` come
    from the batch; in evaluation, and once ``frozen``, they are the running averages.
    """

    matrix_function: Callable[[Tensor], Tensor]

    def __init__(
        self, num_features: int, num_groups: int, **options: Unpack[MomentsOptions]
    ) -> None:
        super().__init__(num_features, num_groups, **options)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C, *)``."""
        check_channels("x", x, "num_features", self.num_features)
        if not self.uses_batch:
            mean: Any = self._buffers["running_mean"]
            if torch.is_grad_enabled():  # the next update must not touch what a gradient needs
                mean = mean.clone()
            return affine_transform(x, self.weight, self.bias, mean, self.current()[0])
        group = self.batch_group(x)
        y, mean, cov, positions = batch_transform(
            x, self.weight, self.bias, self._way, self.num_groups, group
        )
        self.update(mean, cov, positions)
        return y

    @property
    def _way(self) -> Way:
        return Way(self.matrix_function, self.eps, self.shrinkage)

    def evaluation_matrix(self) -> Tensor:
        """A copy of the matrices ``(G, c, c)`` that belong to the running covariance as it is.

        Raises:
            InvalidValueError: if the layer keeps no running averages.
        """
        if not self.has_averages:
            raise InvalidValueError(
                "evaluation_matrix needs track_running_stats=True, got False when the layer was "
                "built; its matrix depends on each batch."
            )
        return self.current()[0].clone()

    def sources(self) -> tuple[Tensor, ...]:
        # By name a module looks in three places, which in evaluation is a tenth of the time.
        buffers: dict[str, Any] = self._buffers
        return buffers["running_cov"], buffers["running_mean"]

    def derivable(self) -> bool:
        return self.has_averages and not self.training

    @full_precision
    def derive(self, options: Options, *sources: Tensor) -> tuple[Tensor, ...]:
        cov, mean = sources
        A = regularized_in_float64(cov, mean.view(cov.shape[:-1]), *options)
        return (self.matrix_function(A).to(cov.dtype),)

    @full_precision
    def derive_without_waiting(self, options: Options, *sources: Tensor) -> tuple[Tensor, ...]:
        return (self.matrix_function(regularized(sources[0], *options)),)

    def train(self, mode: bool = True) -> Self:
        """Choose between batch statistics (True) and running ones (False)."""
        super().train(mode)
        if not mode:
            self.prepare()
        return self
