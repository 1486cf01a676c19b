"""Running averages of the mean and the covariance of batches, taken over which processes."""

import math
import warnings
from typing import Any, TypeAlias, Unpack

import torch
import torch.distributed as dist
from torch import Tensor

from covlayers.functional._base.checks import check_flag
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError, UnsupportedError
from covlayers.functional._base.function import (
    NO_GRAPH_TASK,
    captured,
    compiling,
    graph_task,
    readable,
)
from covlayers.functional._base.linalg import identity_like
from covlayers.functional._batch.averages import move_averages
from covlayers.modules._factory import Factory
from covlayers.modules._outweighing_eps import look
from covlayers.modules._ranges import in_range
from covlayers.modules._statistic_buffers import StatisticBuffers
from covlayers.modules.norms._channel_affine import ChannelAffine

Sync: TypeAlias = Any
"""``"auto"``, a bool, or a ``torch.distributed.ProcessGroup``, a class some builds do not have."""


class NormOptions(Factory, total=False):
    """What every norm with running averages takes by keyword alone."""

    sync: Sync


class MomentsOptions(NormOptions):
    """What every norm with running averages takes, besides its features and groups."""

    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool


class RunningMoments(ChannelAffine, StatisticBuffers):
    """Scale, shift and running averages of mean and covariance, for groups of channels."""

    running_mean: Tensor  # these three are None without track_running_stats
    running_cov: Tensor
    num_batches_tracked: Tensor
    momentum: float | None = in_range(0, 1, optional=True)
    shrinkage: float | None = in_range(0, 1, optional=True)  # an option of some layers

    def __init__(
        self,
        num_features: int,
        num_groups: int,
        *,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        sync: Sync = "auto",
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__(num_features, num_groups, eps=eps, affine=affine, **factory)
        check_flag("track_running_stats", track_running_stats)
        check_sync(sync)
        self.momentum, self.track_running_stats, self.sync = momentum, track_running_stats, sync
        self.shrinkage = None
        self.frozen = False
        channels = num_features // num_groups
        for name, buffer in {
            "running_mean": torch.empty(num_features, **factory),
            "running_cov": torch.empty(num_groups, channels, channels, **factory),
            "num_batches_tracked": torch.empty((), dtype=torch.long, device=factory.get("device")),
        }.items():
            self.register_buffer(name, buffer if track_running_stats else None)
        self._warned = False

    def reset_running_stats(self) -> None:
        """Forget the running averages: mean zero, covariance the identity."""
        if self.has_averages:
            self.running_mean.zero_()
            self.running_cov.copy_(identity_like(self.running_cov))
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the running averages, and scale by one without a shift."""
        self.reset_running_stats()
        super().reset_parameters()

    @property
    def has_averages(self) -> bool:
        """Whether there are running averages; ``track_running_stats`` says whether they move."""
        return self._buffers["running_mean"] is not None

    @property
    def uses_batch(self) -> bool:
        """Whether the statistics of the batch count now, and not the running ones."""
        return not self.has_averages or (self.training and not self.frozen)

    def batch_group(self, x: Tensor) -> str | None:
        """The name of the process group over which the statistics of ``x`` go, None for none.

        Raises:
            InvalidValueError: if there is a single position.
        """
        group = process_group(self.sync) if self.training else None
        positions = x.numel() // self.num_features * (1 if group is None else group.size())
        if positions == 1:
            raise InvalidValueError(
                "x must have more than one position (batch times spatial) in training, got shape "
                f"{tuple(x.shape)}; take a larger batch, drop the last one, or call eval()."
            )
        channels = self.num_features // self.num_groups
        scarce = 0 < positions <= channels and channels > 1 and self.shrinkage is None
        if scarce and not self._warned and not compiling():
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} has {positions} positions for the covariance of {channels} "
                f"channels, which is singular: eps={self.eps} alone bounds its inverse. Take more "
                "num_groups, a shrinkage, a larger eps or a larger batch.",
                stacklevel=2,
            )
        return None if group is None else group.group_name

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        variances = state_dict.get(f"{prefix}running_var")  # of a BatchNorm in this place
        mean: Tensor | None = self.running_mean
        if not (variances is None or mean is None) and variances.shape == mean.shape:
            del state_dict[f"{prefix}running_var"]
            groups = variances.view(self.num_groups, -1)
            state_dict[f"{prefix}running_cov"] = torch.diag_embed(groups)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def update(self, mean: Tensor, cov: Tensor, count: int | Tensor) -> None:
        """Move the running averages in training, unless the batch is empty or not finite.

        The statistics of the batch come without a graph. A forward pass that runs within a backward
        pass recomputes, under activation checkpointing, what the averages have seen.
        """
        if not self.training:
            return
        if not compiling():
            if graph_task() != NO_GRAPH_TASK:
                return
            if not self._looked:
                self._looked = look(self, self.eps, cov.diagonal(dim1=-2, dim2=-1))
        if not self.track_running_stats or self._buffers["running_mean"] is None:
            return
        running = self.running_mean, self.running_cov, self.num_batches_tracked
        if not (isinstance(count, int) and readable(cov)):
            if not compiling() and captured(self.running_cov):
                raise UnsupportedError(
                    f"{type(self).__name__} in training moves its running averages, which are from "
                    "outside a transform of torch.func and constant in it; call eval(), build "
                    "the layer with track_running_stats=False, or give torch.func.functional_call "
                    "clones of the buffers that are made inside the transformed function."
                )
            move_averages(*running, mean, cov, count, self.momentum)
        # A covariance is finite only if all of the mean is, and if its variances are.
        elif count > 1 and (math.isfinite(cov.sum()) or cov.isfinite().all()):
            self.num_batches_tracked.add_(1)
            momentum: float | Tensor | None = self.momentum
            if momentum is None:
                momentum = 1 / self.num_batches_tracked.to(mean.dtype)
            unbiased = cov * (count / (count - 1))
            if cov.dtype != self.running_cov.dtype:
                mean = mean.to(self.running_mean.dtype)
                unbiased = unbiased.to(self.running_cov.dtype)
            self.running_mean.lerp_(mean, momentum)
            self.running_cov.lerp_(unbiased, momentum)

    def extra_repr(self) -> str:
        """The options."""
        return (
            f"{self.num_features}, num_groups={self.num_groups}, eps={self.eps}, "
            f"momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}, shrinkage={self.shrinkage}, "
            f"sync={self.sync!r}"
        )


def is_group(sync: Sync) -> bool:
    """Whether it is a process group."""
    return dist.is_available() and isinstance(sync, dist.ProcessGroup)


def check_sync(sync: Sync) -> None:
    """``"auto"``, True, False or a process group."""
    expected = "sync must be 'auto', True, False or a torch.distributed.ProcessGroup"
    if isinstance(sync, str) and sync != "auto":
        raise InvalidValueError(f"{expected}, got {sync!r}.")
    if not (isinstance(sync, str | bool) or is_group(sync)):
        raise InvalidTypeError(f"{expected}, got {type(sync).__name__}.")


def process_group(sync: Sync) -> Any:
    """The process group to sum over, None for this process alone."""
    if not isinstance(sync, str | bool):
        return sync
    ready = dist.is_available() and dist.is_initialized()
    if sync is True and not ready:
        raise UnsupportedError(
            "sync=True needs a process group, and torch.distributed is not initialised; call "
            "torch.distributed.init_process_group first, or build the layer with sync='auto'."
        )
    return dist.group.WORLD if sync and ready and dist.get_world_size() > 1 else None
