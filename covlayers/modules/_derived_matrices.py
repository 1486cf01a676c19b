"""Matrices that follow from the statistics of a layer, kept while those have the same values."""

from contextlib import suppress
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from covlayers.functional._base.errors import ConvergenceError, InvalidValueError
from covlayers.functional._base.function import compiling, exporting, transformed, wrapped
from covlayers.modules._statistic_buffers import StatisticBuffers

Tensors = tuple[Tensor, ...]
Options = tuple[float, float | None]


class Kept(NamedTuple):
    """Matrices, and copies of what they were derived from, which nobody else can write to."""

    matrices: Tensors
    sources: Tensors
    options: Options


class DerivedMatrices(StatisticBuffers):
    """A module that derives matrices from its buffers, and reads no outdated ones.

    Whoever reads the matrices compares the buffers with the copies they were derived from, value by
    value, so it does not matter who changed them or how. On an accelerator the host does not wait
    for the comparison: the device chooses between what is kept and what it derives anew. A compiled
    graph has the comparison in it. An exported graph has the matrices of its day as constants.
    Under a transform of ``torch.func`` nothing is kept, as its tensors end with the call.

    What is kept is no buffer. Averages of models, collectives and checkpoints do not see it.
    """

    may_wait = False  # for an accelerator to compare
    eps: float  # a change of these two counts as one of the buffers
    shrinkage: float | None
    _kept: Kept | None = None
    _own: Tensors | None = None  # the buffers, where an exported graph has stand-ins of them

    def sources(self) -> Tensors:
        """The buffers to derive from."""
        raise NotImplementedError

    def derivable(self) -> bool:
        """Whether they hold something to derive from."""
        raise NotImplementedError

    def derive(self, options: Options, *sources: Tensor) -> Tensors:
        """The matrices for ``eps`` and ``shrinkage``, as exact as they can be."""
        raise NotImplementedError

    def derive_without_waiting(self, options: Options, *sources: Tensor) -> Tensors:
        """The matrices, by whatever does not make the host wait for an accelerator."""
        return self.derive(options, *sources)

    def current(self) -> Tensors:
        """The matrices that belong to the buffers as they are; not to be written to."""
        sources, options, kept = self.sources(), (self.eps, self.shrinkage), self._kept
        if compiling():
            own = exporting() and self._own is not None and self.derivable()
            return self._constants(options) if own else self._in_graph(options, sources)
        for one in sources:
            if type(one) is not Tensor or wrapped(one):
                return self.derive(options, *sources)
        if kept is not None and not _comparable(kept, options, sources):
            kept = None
        captures = sources[0].is_cuda and torch.cuda.is_current_stream_capturing()
        if sources[0].is_cpu or (self.may_wait and not (captures or sources[0].is_meta)):
            if kept is not None and _equal(kept, sources):
                return kept.matrices
        elif kept is not None:
            return kept.matrices if self.may_wait else self._chosen(kept, sources)
        elif captures:
            return self.derive_without_waiting(options, *sources)
        return self.derive(options, *sources) if transformed() else self.keep(sources).matrices

    def keep(self, sources: Tensors) -> Kept:
        """Derive from values that can be read, and keep the matrices."""
        options = self.eps, self.shrinkage
        with torch.inference_mode(False), torch.no_grad():
            copies = tuple(one.clone() for one in sources)
            self._kept = Kept(self.derive(options, *copies), copies, options)
        return self._kept

    def prepare(self) -> None:
        """Have the matrices ready, for graphs that are compiled or exported from here on."""
        if compiling() or transformed():
            return
        sources, kept = self.sources(), self._kept
        self._own, self._kept = sources, None
        if any(type(one) is not Tensor or one.is_meta for one in sources) or not self.derivable():
            return
        if kept is not None and _comparable(kept, (self.eps, self.shrinkage), sources):
            self._kept = kept if _equal(kept, sources) else None
        if self._kept is None:
            # Memory that nobody has filled yet is no covariance; a forward pass would say so.
            with suppress(InvalidValueError, ConvergenceError):
                self.keep(sources)

    def _chosen(self, kept: Kept, sources: Tensors) -> Tensors:
        """What is kept or what follows, as the device finds."""
        same = _same(kept, sources)
        fresh = self.derive_without_waiting(kept.options, *sources)
        return tuple(map(torch.where, (same,) * len(fresh), kept.matrices, fresh))

    def _in_graph(self, options: Options, sources: Tensors) -> Tensors:
        """The choice as a part of the graph; a branch where the host may read the comparison."""
        kept, branches = self._kept, sources[0].is_cpu or self.may_wait
        derive = self.derive if branches else self.derive_without_waiting
        if transformed() or kept is None or not _comparable(kept, options, sources):
            return derive(options, *sources)
        options = kept.options  # equal numbers, none of which dynamic=True makes a symbol
        with torch.no_grad():
            if not branches:
                return self._chosen(kept, sources)
            n = len(kept.matrices)
            found: Tensors = torch.cond(
                _same(kept, sources),
                lambda *both: tuple(one.clone() for one in both[:n]),
                lambda *both: derive(options, *both[n:]),
                (*kept.matrices, *sources),
            )
            return found

    def _constants(self, options: Options) -> Tensors:
        assert self._own is not None
        # A graph that is exported has stand-ins without values; what they stand for has some.
        with _disable_current_modes():
            return self.derive(options, *self._own)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in vars(self).get("_buffers", ()):
            self._own = None

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._own = None
        # Where nothing was derived yet, the memory may be anything.
        if self._kept is not None:
            self.prepare()
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.prepare()


def _comparable(kept: Kept, options: Options, sources: Tensors) -> bool:
    """Whether it was derived with these options, on this device, in this dtype."""
    then, now = kept.sources[0], sources[0]
    if then.dtype is not now.dtype or kept.options != options:
        return False
    return (then.is_cpu and now.is_cpu) or then.device == now.device


def _equal(kept: Kept, sources: Tensors) -> bool:
    """Whether buffers and copies have the same values; the host waits to know."""
    return all(map(Tensor.equal, sources, kept.sources))


def _same(kept: Kept, sources: Tensors) -> Tensor:
    """The same, found by the device."""
    first, *others = [(a == b).all() for a, b in zip(sources, kept.sources, strict=True)]
    for other in others:
        first = first & other
    return first
