"""Buffers that keep the precision of statistics, whatever the module is cast to."""

from collections.abc import Callable
from typing import Any, Self

from torch import Tensor, nn

from covlayers.functional._base.tensors import full


class StatisticBuffers(nn.Module):
    """A module whose floating buffers are float32 at least.

    A covariance rounded to half is no covariance: rounding moves its small eigenvalues by more than
    they are. So ``half()``, ``bfloat16()`` and ``to`` cast the parameters alone, and what is built
    or loaded in half is raised.
    """

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        super().register_buffer(name, None if tensor is None else full(tensor), persistent)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for name, buffer in self._buffers.items():
            kept = before[name]
            if buffer is not None and kept is not None and full(buffer) is not buffer:
                self._buffers[name] = kept.to(buffer.device)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        for name, buffer in self._buffers.items():  # assign=True takes tensors as they are
            if buffer is not None:
                self._buffers[name] = full(buffer)
