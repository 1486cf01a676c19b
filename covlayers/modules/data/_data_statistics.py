"""Mean and covariance of data, learnt at once or batch by batch."""

from collections.abc import Sequence
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.function import compiling, transformed
from covlayers.functional._base.linalg import symmetric
from covlayers.functional._base.tensors import check_same, no_autocast
from covlayers.functional._batch.weighted_moments import ROUNDING
from covlayers.modules._derived_matrices import DerivedMatrices
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules.data._observations import (
    Features,
    check_features,
    chosen_features,
    number,
    observation_shape,
    to_rows,
)


class DataStatistics(DerivedMatrices):
    """Mean and covariance of observations: samples ``(N, *)``, or the patches of images."""

    mean: Tensor
    covariance: Tensor
    num_samples: Tensor

    def __init__(
        self,
        num_features: int | Sequence[int] | None,
        patch_size: int | None,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        check_factory(self, factory)
        self.patch_size = patch_size
        self.num_features = chosen_features(num_features, patch_size)
        self._fitted = False  # as last seen where a count can be read
        self._any_dtype = factory.get("dtype") is None
        D = 0 if self.num_features is None else number(self.num_features)
        self.register_buffer("mean", torch.zeros(D, **factory))
        self.register_buffer("covariance", torch.zeros(D, D, **factory))
        num_samples = torch.zeros((), device=factory.get("device"), dtype=torch.long)
        self.register_buffer("num_samples", num_samples)

    def fit(self, x: Tensor) -> Self:
        """Learn mean and covariance of ``x``, ``(N, *)``, and forget what was learnt before.

        Raises:
            InvalidValueError: if ``x`` has other features, fewer than two observations, or values
                or statistics that are not finite; what was learnt before stays.
            InvalidTypeError: if ``x`` is not a real floating tensor.
        """
        self._learn(x, known=0, at_least=2)
        self.prepare()
        return self

    def partial_fit(self, x: Tensor) -> Self:
        r"""Learn from one more batch ``x``, of any size; all batches amount to one ``fit``.

        With :math:`w = n_b / (n_a + n_b)` and :math:`\delta = \mu_b - \mu_a`,

        .. math:: \mu = \mu_a + w\, \delta, \qquad
                  \Sigma = (1 - w)\, \Sigma_a + w\, \Sigma_b + w (1 - w)\, \delta \delta^\top

        Raises:
            InvalidValueError: as ``fit``; a single observation is enough.
            InvalidTypeError: as ``fit``.

        Reference:
            :cite:t:`chan1983algorithms`.
        """
        self._learn(x, known=int(self.num_samples), at_least=1)
        return self

    def _learn(self, x: Tensor, known: int, at_least: int) -> None:
        shape = observation_shape("x", x, self.patch_size)
        features = self.num_features
        if features is None:
            features = chosen_features(shape[0] if len(shape) == 1 else shape, self.patch_size)
            assert features is not None
        check_features("x", x, shape, "num_features", features)
        check_same("mean", self.mean.to(x.dtype), "x", x)
        with torch.inference_mode(False), torch.no_grad(), no_autocast(x):
            rows = to_rows(x, self.patch_size)
            if len(rows) < at_least:
                raise InvalidValueError(
                    f"x must hold at least {at_least} observations, got {len(rows)} in shape "
                    f"{tuple(x.shape)}; pass more data, or a batch at a time to partial_fit."
                )
            rows = rows.to(torch.promote_types(x.dtype, self.mean.dtype))
            dtype = rows.dtype if self._any_dtype and not known else self.mean.dtype
            if known:
                start = self.mean.to(rows.dtype), self.covariance.to(rows.dtype)
            else:
                start = rows.new_zeros(rows.shape[1]), rows.new_zeros(())
            merged = _merge(*start, known, rows)
            mean, covariance = (statistic.to(dtype) for statistic in merged)
            if not bool(torch.isfinite(mean).all() & torch.isfinite(covariance).all()):
                raise InvalidValueError(
                    f"x must be finite, with a covariance in the range of {dtype}, got "
                    f"values up to {float(x.abs().amax())}; drop such samples, or rescale them."
                )
            if _too_small(rows, mean, covariance):
                raise InvalidValueError(
                    f"x must have variances in the range of {dtype}, got deviations whose squares "
                    "are below it; rescale x, e.g. to unit variance, or pass float64."
                )
            self.adopt(features)
            self.mean, self.covariance = mean, covariance
            self.num_samples = torch.full_like(self.num_samples, known + len(rows))
            self._fitted = True
            self._own = self.sources()

    def adopt(self, features: Features) -> None:
        """Take these features from now on; raise if they do not suit."""
        self.num_features = features

    def sources(self) -> tuple[Tensor, ...]:
        return self.covariance, self.mean, self.num_samples

    def derivable(self) -> bool:
        if not (compiling() or transformed()):
            self._fitted = int(self.num_samples) > 0
        return self._fitted

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        mean = state_dict.get(f"{prefix}mean")
        if mean is not None and mean.numel():
            if self.num_features is None:
                D = mean.numel()
                self.adopt(D)
                self.mean, self.covariance = self.mean.new_zeros(D), self.covariance.new_zeros(D, D)
            if self._any_dtype:
                dtype = torch.promote_types(mean.dtype, self.mean.dtype)
                self.mean, self.covariance = self.mean.to(dtype), self.covariance.to(dtype)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _too_small(rows: Tensor, mean: Tensor, covariance: Tensor) -> bool:
    """Whether the features vary, by more than the rounding of their mean, too little to square."""
    finfo = torch.finfo(covariance.dtype)
    if len(mean) == 0 or covariance.diagonal().amax() >= finfo.tiny:
        return False
    spread = (rows - mean).abs().amax(0)
    return bool((spread > ROUNDING * finfo.eps * mean.abs()).any())


def _merge(mean: Tensor, covariance: Tensor, known: int, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of ``known`` observations with those in ``rows``, one each."""
    weight = len(rows) / (known + len(rows))
    centered = rows - mean  # about the known mean first, so that a large one costs no accuracy
    step = centered.mean(0)
    centered = centered - step
    batch = symmetric(centered.mT @ centered) / len(rows)
    between = (1 - weight) * step[:, None] * step
    return mean + weight * step, (1 - weight) * covariance + weight * (batch + between)
