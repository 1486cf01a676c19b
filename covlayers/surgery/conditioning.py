"""How well conditioned the inputs of the layers are, while they train."""

from functools import partial
from typing import Any, Self

import torch
from einops import rearrange
from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional._base.checks import check_count, check_model
from covlayers.functional._base.decomposition import decompose
from covlayers.functional._base.function import compiling
from covlayers.functional._base.tensors import no_autocast
from covlayers.modules.norms.running_moments import RunningMoments


class ConditioningMonitor:
    r"""Watch the spectra of the features that the layers of a model whiten, while it trains.

    For each layer it takes the eigenvalues :math:`\lambda_i \ge 0` of the covariance of a batch,
    and measures

    .. math:: \kappa = \frac{\lambda_{\max} + \varepsilon}{\lambda_{\min} + \varepsilon}, \qquad
              r = \exp\Big(-\sum_i p_i \log p_i\Big), \quad
              p_i = \frac{\lambda_i}{\sum_j \lambda_j}, \qquad
              \frac{\lambda_{\min}}{\varepsilon}

    with the :math:`\varepsilon` of the layer: the condition number of the worst group of channels,
    the effective rank as a mean over groups, and the smallest eigenvalue of all groups. Where the
    last number falls below one, ``eps`` decides and not the data. Where the effective rank is far
    below the number of channels of a group, smaller groups or shrinkage may serve better.

    The monitor changes no value, no gradient and no state. It measures the batches of its own
    process, skips a batch with fewer than two positions, and reports NaN for a batch that is not
    finite. It does not watch a compiled model.

    Args:
        model: the model; its layers of this library are watched.
        every: forward passes in training from one measurement to the next, at least 1.

    Raises:
        InvalidValueError: if ``every`` is not positive.
        InvalidTypeError: if ``model`` is not a module, or ``every`` not an int.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), DecorrelatedBatchNorm(8, num_groups=2))
        >>> with ConditioningMonitor(model, every=10) as monitor:
        ...     y = model(torch.randn(64, 4))
        >>> sorted(monitor.metrics())
        ['1/condition_number', '1/effective_rank', '1/smallest_eigenvalue_to_eps']

    Reference:
        :cite:t:`roy2007effective` for the effective rank.
    """

    def __init__(self, model: nn.Module, *, every: int = 100) -> None:
        check_model(model)
        check_count("every", every)
        self.every = every
        self._seen: dict[str, int] = {}
        self._metrics: dict[str, Tensor] = {}
        self._handles = [
            module.register_forward_hook(partial(self._watch, name), with_kwargs=True)
            for name, module in model.named_modules()
            if isinstance(module, RunningMoments)
        ]

    def _watch(
        self,
        name: str,
        layer: RunningMoments,
        args: tuple[Tensor, ...],
        kwargs: dict[str, Tensor],
        output: Tensor,
    ) -> None:
        if compiling() or not layer.training:
            return
        if output.numel() <= layer.num_features:  # a single position has no covariance
            return
        seen = self._seen.get(name, 0)
        self._seen[name] = seen + 1
        if seen % self.every == 0:
            (x,) = (*args, *kwargs.values())
            measured = _measured(x, layer.num_groups, layer.eps)
            self._metrics |= {f"{name}/{key}".lstrip("/"): v for key, v in measured.items()}

    def metrics(self) -> dict[str, Tensor]:
        """The last measurements, scalars on the device of each layer, ready to log.

        Keys are ``layer/condition_number``, ``layer/effective_rank`` and
        ``layer/smallest_eigenvalue_to_eps`` with the dotted name of the layer; there are none
        before its first forward pass in training.
        """
        return dict(self._metrics)

    def remove(self) -> None:
        """Watch no more; the last measurements stay."""
        for handle in self._handles:
            handle.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


@torch.no_grad()
def _measured(x: Tensor, num_groups: int, eps: float) -> dict[str, Tensor]:
    with no_autocast(x):
        z = rearrange(x.float(), "n (g c) ... -> g c (n ...)", g=num_groups)
        values = decompose(F.covariance(z))[0].clamp_min(0)  # (G, c)
        smallest, largest = values[:, 0], values[:, -1]
        shares = values / values.sum(-1, keepdim=True)
        return {
            "condition_number": ((largest + eps) / (smallest + eps)).amax(),
            "effective_rank": torch.special.entr(shares).sum(-1).exp().mean(),
            "smallest_eigenvalue_to_eps": smallest.amin() / eps,
        }
