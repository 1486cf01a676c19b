"""Buffers that follow from others, computed when those have changed."""

from typing import Any, Self

import torch
from torch import Tensor

from covlayers.functional._base.function import compiling, exporting, transformed, wrapped
from covlayers.modules._statistic_buffers import StatisticBuffers


class DerivedBuffers(StatisticBuffers):
    """A module that derives some of its buffers from others, and reads no outdated ones.

    A subclass offers ``sources``, ``derivable`` and ``derive``, and calls ``refresh`` before it
    reads what was derived. The module notices every change of the sources: in place, by another
    tensor, by a checkpoint or by ``to``. A compiled graph notices another tensor alone: it reads
    what the last refresh outside of it left, where ``refresh`` says that it may. Under a transform
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

    def outdate(self) -> None:
        """Derive anew at the next refresh."""
        self._derived_from = None

    def refresh(self) -> bool:
        """Derive, if the sources have changed; whether there are derived buffers to read."""
        sources, known = self.sources(), self._derived_from
        if compiling():  # an exported graph has stand-ins of the sources
            return known is not None and (
                exporting() or all(now is then for now, then in zip(sources, known, strict=True))
            )
        # What changes whenever a tensor does; where torch keeps no count, never equal twice.
        stamps: list[object] = [self.eps, self.shrinkage]
        for one in sources:
            counted = not (one.is_inference() or wrapped(one))
            stamps += (id(one), one.data_ptr(), one._version) if counted else (object(),)
        if known is None or stamps != self._stamps:
            self.outdate()
            if transformed():
                return False
            with torch.inference_mode(False), torch.no_grad():
                self.derive()
            self._derived_from, self._stamps = sources, stamps
        return True

    def prepare(self) -> None:
        """Have the buffers ready for graphs that are compiled or exported from here on."""
        if not any(source.is_meta for source in self.sources()) and self.derivable():
            self.refresh()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        # Buffers that were never derived may be uninitialised memory.
        if self._derived_from is not None:
            self.outdate()
            self.prepare()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.outdate()
        self.prepare()
