"""Normalisation by a matrix function of the batch covariance: what the layers share."""

import warnings
from typing import Any, Self

import torch
from torch import Tensor, nn

from covlayers.functional.batch_transform import affine_transform, batch_transform
from covlayers.functional.checks import (
    InvalidValueError,
    check_channels,
    check_count,
    check_divides,
    check_number,
)
from covlayers.functional.covariance import shrink
from covlayers.functional.linalg import identity_like
from covlayers.modules.sync import Sync, check_sync, process_group


class CovarianceNorm(nn.Module):
    r"""Base of the layers that normalise by a matrix function :math:`T` of the covariance.

    .. math:: y = \operatorname{diag}(\gamma)\; T(\hat\Sigma)\, (x - \mu) + \beta, \qquad
              \hat\Sigma = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{c} I
              + \varepsilon I

    per group of :math:`c` channels. A subclass offers ``matrix_function``. In training :math:`\mu`
    and :math:`\Sigma` are those of the batch; in evaluation, and once ``frozen``, running averages.
    """

    running_mean: Tensor | None
    running_cov: Tensor | None
    num_batches_tracked: Tensor | None
    eval_matrix: Tensor | None

    def __init__(
        self,
        num_features: int,
        num_groups: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        shrinkage: float | None,
        sync: Sync,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        check_count("num_features", num_features)
        check_divides("num_groups", num_groups, "num_features", num_features)
        check_number("eps", eps, 0)
        if momentum is not None:
            check_number("momentum", momentum, 0, 1)
        if shrinkage is not None:
            check_number("shrinkage", shrinkage, 0, 1)
        check_sync(sync)
        self.num_features, self.num_groups = num_features, num_groups
        self.eps, self.momentum, self.shrinkage = eps, momentum, shrinkage
        self.affine, self.track_running_stats = affine, track_running_stats
        self.sync = sync
        self.frozen = False
        factory: dict[str, Any] = {"device": device, "dtype": dtype}
        channels = num_features // num_groups
        for name in ("weight", "bias"):
            parameter = nn.Parameter(torch.empty(num_features, **factory)) if affine else None
            self.register_parameter(name, parameter)
        buffers = {
            "running_mean": torch.empty(num_features, **factory),
            "running_cov": torch.empty(num_groups, channels, channels, **factory),
            "num_batches_tracked": torch.empty((), dtype=torch.long, device=device),
            "eval_matrix": torch.empty(num_groups, channels, channels, **factory),
        }
        for name, buffer in buffers.items():
            value = buffer if track_running_stats else None
            self.register_buffer(name, value, persistent=name != "eval_matrix")
        self._derived_from: tuple[object, ...] | None = None
        self._stale = True
        self._warned = False
        self.reset_parameters()

    def matrix_function(self, cov: Tensor) -> Tensor:
        """The matrices ``(G, c, c)`` for regularised covariances ``(G, c, c)``."""
        raise NotImplementedError

    def reset_running_stats(self) -> None:
        """Forget the running averages: mean zero, covariance the identity."""
        if self.running_mean is not None:
            self.running_mean.zero_()
            self.running_cov.copy_(identity_like(self.running_cov))
            self.num_batches_tracked.zero_()
            self._stale = True

    def reset_parameters(self) -> None:
        """Forget the running averages, and scale by one without a shift."""
        self.reset_running_stats()
        if self.affine:
            nn.init.ones_(self.weight)
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C, *)``."""
        check_channels("x", x, "num_features", self.num_features)
        if self.running_mean is None or (self.training and not self.frozen):
            return self._normalize_by_batch(x)
        # Cloned, as the next update must not touch what a pending backward pass needs.
        mean, W = self.running_mean.clone(), self.evaluation_matrix().clone()
        return affine_transform(x, self.weight, self.bias, mean, W)

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        group = process_group(self.sync) if self.training else None
        processes = 1 if group is None else group.size()
        self._check_positions(x, x.numel() // self.num_features * processes)
        y, mean, cov, count = batch_transform(
            x,
            self.weight,
            self.bias,
            self._regularized_matrix,
            self.num_groups,
            None if group is None else group.group_name,
        )
        if self.training and self.running_mean is not None:
            self._update(mean, cov, count)
        return y

    def _check_positions(self, x: Tensor, positions: int) -> None:
        channels = self.num_features // self.num_groups
        if positions == 1:
            raise InvalidValueError(
                "x must have more than one position (batch times spatial) in training, got shape "
                f"{tuple(x.shape)}; take a larger batch, drop the last one, or call eval()."
            )
        scarce = positions <= channels > 1 and self.shrinkage is None
        if scarce and not self._warned and not torch.compiler.is_compiling():
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} has {positions} positions for the covariance of {channels} "
                f"channels, which is singular: eps={self.eps} alone bounds its inverse. Take more "
                "num_groups, a shrinkage, a larger eps or a larger batch.",
                stacklevel=4,
            )

    def _regularized_matrix(self, cov: Tensor) -> Tensor:
        if self.shrinkage is not None:
            cov = shrink(cov, self.shrinkage)
        return self.matrix_function(cov + self.eps * identity_like(cov))

    @torch.no_grad()
    def _update(self, mean: Tensor, cov: Tensor, count: Tensor) -> None:
        """Move the running averages, unless the batch is empty or not finite."""
        valid = (count > 1) & torch.isfinite(mean).all() & torch.isfinite(cov).all()
        unbiased = cov * (count / (count - 1).clamp_min(1))
        self.num_batches_tracked.add_(valid)
        tracked = self.num_batches_tracked.clamp_min(1)
        momentum = 1 / tracked if self.momentum is None else self.momentum
        for running, batch in ((self.running_mean, mean), (self.running_cov, unbiased)):
            moved = running + momentum * (batch.to(running.dtype) - running)
            running.copy_(torch.where(valid, moved, running))
        self._stale = True

    def evaluation_matrix(self) -> Tensor:
        """The matrices ``(G, c, c)`` for the running covariance, computed when that has changed.

        Raises:
            InvalidValueError: if the layer keeps no running averages.
        """
        if self.running_cov is None:
            raise InvalidValueError(
                "evaluation_matrix needs track_running_stats=True, got False when the layer was "
                "built; its matrix is that of each batch."
            )
        if torch.compiler.is_compiling():
            stale = self._stale
            return self._regularized_matrix(self.running_cov) if stale else self.eval_matrix
        if self._derived_from is None or self._derived_from != self._origin():
            self._derive()
        return self.eval_matrix

    def _origin(self) -> tuple[object, ...] | None:
        """What changes whenever the running covariance does; None where torch cannot tell."""
        cov = self.running_cov
        if cov.is_inference():
            return None
        return cov._version, cov.data_ptr(), cov.dtype, cov.device

    def _derive(self) -> None:
        with torch.inference_mode(False), torch.no_grad():
            cov = self.running_cov.clone()
            wide = cov.float() if cov.dtype in (torch.float16, torch.bfloat16) else cov
            self.eval_matrix = self._regularized_matrix(wide).to(cov.dtype)
        self._derived_from, self._stale = self._origin(), False

    def _prepare_evaluation(self) -> None:
        """Have the matrix ready for graphs that are compiled or exported from here on."""
        if not self.training and self.running_cov is not None and not self.running_cov.is_meta:
            self.evaluation_matrix()

    def train(self, mode: bool = True) -> Self:
        """Choose between batch statistics (True) and running ones (False)."""
        super().train(mode)
        self._prepare_evaluation()
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._prepare_evaluation()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._stale = True
        self._prepare_evaluation()

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_features}, num_groups={self.num_groups}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}, shrinkage={self.shrinkage}, "
            f"sync={self.sync!r}"
        )
