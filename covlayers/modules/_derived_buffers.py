"""Buffers that follow from others, computed when those have changed."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from covlayers.functional._base.function import compiling, exporting, transformed, wrapped


class DerivedBuffers(nn.Module):
    """A module that derives some of its buffers from others, and reads no outdated ones.

    A subclass offers ``sources``, ``derivable`` and ``derive``, and calls ``refresh`` before it
    reads what was derived. The module notices every change of the sources: in place, by another
    tensor, by a checkpoint or by ``to``. A compiled graph notices another tensor alone: it reads
    what the last refresh outside of it left, where ``derived`` says that it may. Under a transform
    of ``torch.func`` nothing is kept, as its tensors end with the call.
    """

    eps: float  # a change of these two counts as one of the sources
    shrinkage: float | None

    def __init__(self) -> None:
        super().__init__()
        # Held on to, so that no other tensor can take their place in memory.
        self._derived_from: tuple[Tensor, ...] | None = None
        self._stamps: list[object] = []

    def sources(self) -> tuple[Tensor, ...]:
        """The buffers to derive from."""
        raise NotImplementedError

    def derivable(self) -> bool:
        """Whether they hold something to derive from."""
        raise NotImplementedError

    def derive(self) -> None:
        """Compute the derived buffers; runs without gradient, outside inference mode."""
        raise NotImplementedError

    @property
    def derived(self) -> bool:
        """Whether there are derived buffers to read, of the very sources that are there now."""
        known = self._derived_from
        if known is None or exporting():  # an exported graph has stand-ins of the sources
            return known is not None
        return all(now is then for now, then in zip(self.sources(), known, strict=True))

    def outdate(self) -> None:
        """Derive anew at the next refresh."""
        self._derived_from = None

    def refresh(self) -> None:
        """Derive, if the sources have changed."""
        if compiling():
            return
        sources = self.sources()
        stamps = [*(_stamp(source) for source in sources), self.eps, self.shrinkage]
        if self._derived_from is None or stamps != self._stamps:
            self.outdate()
            if transformed():
                return
            with torch.inference_mode(False), torch.no_grad():
                self.derive()
            self._derived_from, self._stamps = sources, stamps

    def prepare(self) -> None:
        """Have the buffers ready for graphs that are compiled or exported from here on."""
        if not any(source.is_meta for source in self.sources()) and self.derivable():
            self.refresh()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        # What was not derived before may be memory that nothing has been written to.
        if self._derived_from is not None:
            self.outdate()
            self.prepare()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.outdate()
        self.prepare()


def _stamp(source: Tensor) -> object:
    """What changes whenever a tensor does; where torch keeps no count, never equal twice."""
    if source.is_inference() or wrapped(source):
        return object()
    return id(source), source.data_ptr(), source._version
