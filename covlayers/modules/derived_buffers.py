"""Buffers that follow from others, computed when those have changed."""

from typing import Any, Self

import torch
from torch import Tensor, nn


class DerivedBuffers(nn.Module):
    """A module that derives some of its buffers from others, and is never caught with old ones.

    A subclass offers ``sources``, ``derive`` and ``derivable``, and calls ``refresh`` before it
    reads what was derived. A change of the sources is noticed however it came: in place, by another
    tensor, by a checkpoint or by ``to``. A compiled graph cannot look: it reads what the last
    refresh outside of it left, where ``derived`` says that there was one.
    """

    def __init__(self) -> None:
        super().__init__()
        self._derived_from: tuple[object, ...] | None = None

    def sources(self) -> tuple[Tensor, ...]:
        """The buffers to derive from."""
        raise NotImplementedError

    def derive(self) -> None:
        """Compute the derived buffers; runs without gradient, and outside inference mode."""
        raise NotImplementedError

    def derivable(self) -> bool:
        """Whether the sources hold something to derive from."""
        raise NotImplementedError

    @property
    def derived(self) -> bool:
        """Whether there are derived buffers to read."""
        return self._derived_from is not None

    def forget_derived(self) -> None:
        """Derive anew at the next refresh."""
        self._derived_from = None

    def refresh(self) -> None:
        """Derive, if the sources have changed."""
        if torch.compiler.is_compiling():
            return
        stamps = tuple(_stamp(source) for source in self.sources())
        if stamps != self._derived_from:
            with torch.inference_mode(False), torch.no_grad():
                self.derive()
            self._derived_from = stamps

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # What was never derived may lie in memory that nothing has been written to yet.
        if self.derived:
            self._prepare()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._prepare()

    def _prepare(self) -> None:
        """Have the buffers ready for graphs that are compiled or exported from here on."""
        self.forget_derived()
        if not any(source.is_meta for source in self.sources()) and self.derivable():
            self.refresh()


def _stamp(source: Tensor) -> object:
    """What changes whenever a tensor does; where torch keeps no count, never twice the same."""
    if source.is_inference():
        return object()
    return source._version, source.data_ptr(), source.shape, source.dtype, source.device
