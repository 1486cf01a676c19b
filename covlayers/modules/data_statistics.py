"""Mean and covariance of data, learnt at once or batch by batch."""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from einops import rearrange
from torch import Tensor

from covlayers.functional.checks import (
    InvalidValueError,
    check_count,
    check_divides,
    check_tensor,
)
from covlayers.functional.precision import HALVES, no_autocast
from covlayers.modules.derived_buffers import DerivedBuffers

Features = int | tuple[int, ...]


class DataStatistics(DerivedBuffers):
    """Mean and covariance of samples, or of their patches, as buffers that data are fitted to."""

    mean: Tensor
    covariance: Tensor
    num_samples: Tensor

    def __init__(
        self,
        num_features: int | Sequence[int] | None,
        patch_size: int | None,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if patch_size is not None:
            check_count("patch_size", patch_size)
        self.patch_size = patch_size
        self.num_features = _features(num_features, patch_size)
        D = 0 if self.num_features is None else count(self.num_features)
        self.register_buffer("mean", torch.zeros(D, device=device, dtype=dtype))
        self.register_buffer("covariance", torch.zeros(D, D, device=device, dtype=dtype))
        self.register_buffer("num_samples", torch.zeros((), device=device, dtype=torch.long))

    def fit(self, x: Tensor) -> Self:
        """Learn mean and covariance of ``(N, *)``, and forget what was learnt before.

        Raises:
            InvalidValueError: if there are fewer than two observations, they have another number
                of features, or their statistics are not finite; what was learnt before stays.
            InvalidTypeError: if ``x`` is not a real floating tensor.
        """
        self._learn(x, 0)
        self.refresh()
        return self

    def partial_fit(self, x: Tensor) -> Self:
        r"""Learn from a further batch ``(N, *)`` of any size, as one ``fit`` of all batches would.

        With :math:`w = n_b / (n_a + n_b)` and :math:`\delta = \mu_b - \mu_a`,

        .. math:: \mu = \mu_a + w\, \delta, \qquad
                  \Sigma = (1 - w)\, \Sigma_a + w\, \Sigma_b + w (1 - w)\, \delta \delta^\top.

        Raises:
            InvalidValueError: as ``fit``, for an empty batch in place of one with a single
                observation.
            InvalidTypeError: as ``fit``.

        Reference:
            :cite:t:`chan1983algorithms`.
        """
        self._learn(x, int(self.num_samples))
        return self

    def _learn(self, x: Tensor, known: int) -> None:
        """Add ``x`` to the first ``known`` observations, all of those that there are or none."""
        features = feature_shape("x", x, self.patch_size)
        if self.num_features is None:
            D, expected = math.prod(features), _features(features, self.patch_size)
            start = self.mean.new_zeros(D), self.covariance.new_zeros(D, D)
        else:
            check_features("x", x, features, "num_features", self.num_features)
            start, expected = (self.mean, self.covariance), self.num_features
        with torch.inference_mode(False), torch.no_grad(), no_autocast(x):
            rows = to_rows(x, self.patch_size)
            _check_observations(x, len(rows), 1 if known else 2)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        known = state_dict.get(f"{prefix}mean")
        if self.num_features is None and known is not None and known.numel():
            self._adopt(known.numel())
        super()._load_from_state_dict(state_dict, prefix, *args)
