"""A learnt mixture of whitening and standardisation, by batch and by sample."""

from collections.abc import Sequence
from typing import NamedTuple, Unpack

import torch
from einops import rearrange
from torch import Tensor, nn

from covlayers.functional._base.checks import check_choice
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.functional._base.linalg import regularized
from covlayers.functional._base.tensors import check_channels, check_positions, full, no_autocast
from covlayers.functional._batch.collective import joint_moments, outer
from covlayers.functional._batch.memory_layout import formatted_gradient, like_format
from covlayers.functional.centered_product import centered_product
from covlayers.functional.core import Method
from covlayers.functional.functions import INVSQRT
from covlayers.functional.matrix_functions import applied, check_cell
from covlayers.functional.rule import Backward
from covlayers.modules._factory import Factory
from covlayers.modules.norms._channel_affine import chosen_groups
from covlayers.modules.norms.running_moments import NormOptions, RunningMoments


class Moments(NamedTuple):
    """A mean ``(*, G, c)`` and a covariance ``(*, G, c, c)``."""

    mean: Tensor
    cov: Tensor


STATISTICS = ("bw", "iw", "bn", "in", "ln")


class SwitchableWhitening(RunningMoments):
    r"""Whitening by a learnt mixture of the statistics of the batch and of the sample.

    .. math:: y = \operatorname{diag}(\gamma)\, \hat\Sigma^{-1/2} (x - \hat\mu) + \beta, \qquad
              \hat\mu = \sum_k \omega_k \mu_k, \quad
              \hat\Sigma = \sum_k \omega'_k \Sigma_k + \varepsilon I

    with :math:`\omega` and :math:`\omega'` each a softmax of learnt numbers, equal at the start,
    and the statistics of each group of channels

    - ``"bw"``, batch whitening: mean and covariance of the batch;
    - ``"iw"``, instance whitening: mean and covariance of the sample;
    - ``"bn"``, batch standardisation: mean and variances of the batch;
    - ``"in"``, instance standardisation: mean and variances of the sample;
    - ``"ln"``, layer standardisation: one mean and one variance for all channels of the sample.

    In evaluation the statistics of the batch are running averages.

    Args:
        num_features: as :class:`DecorrelatedBatchNorm`.
        num_groups: as :class:`DecorrelatedBatchNorm`. The publication takes groups of 16 channels.
        eps, momentum, affine, track_running_stats: as :class:`DecorrelatedBatchNorm`.
        group_size: as :class:`DecorrelatedBatchNorm`.
        statistics: the statistics to mix, at least one of the above.
        method: how to compute the inverse root, see :func:`covlayers.functional.invsqrtm`. The
            publication takes ``NewtonSchulz(5)``.
        backward: how to differentiate it; None for the method's default.
        sync, device, dtype: as :class:`DecorrelatedBatchNorm`.

    Shape:
        - Input: :math:`(N, C, *)` with more than one position a sample
        - Output: :math:`(N, C, *)`, in the memory format of the input

    Attributes:
        mean_logits: whose softmax is :math:`\omega`.
        cov_logits: whose softmax is :math:`\omega'`.

    Raises:
        InvalidValueError: as :class:`DecorrelatedBatchNorm`; for unknown, repeated or no
            statistics, and for an input with a single position a sample.
        InvalidTypeError: as :class:`DecorrelatedBatchNorm`.

    Example:
        >>> norm = SwitchableWhitening(32, num_groups=2, statistics=("bw", "iw", "bn"))
        >>> norm(torch.randn(4, 32, 7, 7)).shape
        torch.Size([4, 32, 7, 7])

    Reference:
        :cite:t:`pan2019switchable`.
    """

    mean_logits: nn.Parameter
    cov_logits: nn.Parameter

    def __init__(
        self,
        num_features: int,
        num_groups: int | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        group_size: int | None = None,
        statistics: Sequence[str] = ("bw", "iw"),
        method: str | Method = "auto",
        backward: str | Backward | None = None,
        **options: Unpack[NormOptions],
    ) -> None:
        if isinstance(statistics, str) or not isinstance(statistics, Sequence):
            raise InvalidTypeError(
                f"statistics must be a tuple or a list of some of {list(STATISTICS)}, "
                f"got {statistics!r}."
            )
        for name in statistics:
            check_choice("statistics", name, STATISTICS)
        if len(statistics) == 0 or len(set(statistics)) < len(statistics):
            raise InvalidValueError(
                f"statistics must be one or more of {list(STATISTICS)}, each once, "
                f"got {list(statistics)}."
            )
        super().__init__(
            num_features,
            chosen_groups(num_features, num_groups, group_size),
            eps=eps,
            momentum=momentum,
            affine=affine,
            track_running_stats=track_running_stats,
            **options,
        )
        self.statistics = tuple(statistics)
        self.method, self.backward = check_cell((INVSQRT,), method, backward)
        self._inverse_root = applied(INVSQRT, self.method, self.backward)
        factory: Factory = {"device": options.get("device"), "dtype": options.get("dtype")}
        for name in ("mean_logits", "cov_logits"):
            empty = torch.empty(len(statistics), **factory)
            self.register_parameter(name, nn.Parameter(empty))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Forget the running averages, scale by one without a shift, mix in equal parts."""
        super().reset_parameters()
        nn.init.zeros_(self.mean_logits)
        nn.init.zeros_(self.cov_logits)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(N, C, *)``."""
        check_channels("x", x, "num_features", self.num_features)
        positions = formatted_gradient(x).unsqueeze(-1).flatten(2)
        check_positions("x", x, 2, first=2)
        with no_autocast(x):
            z = rearrange(full(positions), "n (g c) m -> n g c m", g=self.num_groups)
            own = Moments(z.mean(-1), centered_product(z, None))
            batch, count = self._batch(x, z, own)
            y = self._whiten(z, *self._mixture(own, batch)).reshape(x.shape)
        if count is not None:
            self.update(batch.mean.detach().flatten(), batch.cov.detach(), count)
        return like_format(y.to(x.dtype), x)

    def _batch(self, x: Tensor, z: Tensor, own: Moments) -> tuple[Moments, int | Tensor | None]:
        """The batch's moments, from the moments of its samples, and its number of positions."""
        if not self.uses_batch:
            mean = self.running_mean.clone().to(z.dtype).view(z.shape[1:3])
            return Moments(mean, self.running_cov.to(z.dtype)), None
        N, M = z.shape[0], z.shape[-1]
        group = self.batch_group(x)
        mean = own.mean.sum(0) / max(N, 1)
        scatter = M * (own.cov + outer(own.mean - mean)).sum(0)
        count, mean, cov = joint_moments(z.new_full((), N * M), mean, scatter, group)
        return Moments(mean, cov), N * M if group is None else count

    def _mixture(self, own: Moments, batch: Moments) -> Moments:
        variance = own.cov.diagonal(dim1=-2, dim2=-1)
        mean = own.mean.mean((-2, -1), keepdim=True)
        spread = (variance + (own.mean - mean).square()).mean((-2, -1), keepdim=True)
        known = {
            "bw": batch,
            "iw": own,
            "bn": Moments(batch.mean, diagonal(batch.cov)),
            "in": Moments(own.mean, diagonal(own.cov)),
            "ln": Moments(mean.expand_as(own.mean), torch.diag_embed(spread.expand_as(variance))),
        }
        mixed = []
        for part, logits in enumerate((self.mean_logits, self.cov_logits)):
            weights = logits.to(mean.dtype).softmax(0)
            terms = zip(weights, self.statistics, strict=True)
            mixed.append(sum(weight * known[name][part] for weight, name in terms))
        return Moments(*mixed)

    def _whiten(self, z: Tensor, mean: Tensor, cov: Tensor) -> Tensor:
        cov = regularized(cov, self.eps)
        W = self._inverse_root(cov)
        y = W @ (z - mean[..., None])  # (N, G, c, M)
        for vector, apply in ((self.weight, torch.mul), (self.bias, torch.add)):
            if vector is not None:
                y = apply(y, vector.to(y.dtype).view(*y.shape[1:3], 1))
        return y

    def extra_repr(self) -> str:
        """The options, method and rule as objects."""
        cell = f"statistics={self.statistics}, method={self.method}, backward={self.backward}"
        return f"{super().extra_repr()}, {cell}"


def diagonal(cov: Tensor) -> Tensor:
    """The variances alone."""
    return torch.diag_embed(cov.diagonal(dim1=-2, dim2=-1))
