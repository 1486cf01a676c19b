"""How many operations a computation dispatches: a count, the same on every machine.

An operation is one call that reaches PyTorch's dispatcher below autograd. An operator of this
library counts as the kernels that it launches. Left out are views (operators whose output aliases
an input), allocations and questions about shapes, as they do no work on a device.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from covlayers.functional._iterations import conditions
from covlayers.functional._iterations.launches import launches_of_root_gradient, launches_of_roots

NO_WORK = """
    empty empty_like empty_strided new_empty new_empty_strided
    _unsafe_view _efficientzerotensor is_same_size _has_same_storage_numel
"""
IDLE = frozenset(f"aten::{name}" for name in NO_WORK.split())

LAUNCHES: Mapping[str, Callable[..., int]] = {
    "covlayers::roots": launches_of_roots,
    "covlayers::root_gradient": launches_of_root_gradient,
    "covlayers::batch_statistics": lambda *_: 2,  # of parts of the batch, then of all
    "covlayers::batch_gradient_sums": lambda *_: 2,
}


class Operations(TorchDispatchMode):
    """Counts them by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = func._schema.name
        if not func.is_view and name not in IDLE:
            self.counts[name] += LAUNCHES[name](*args) if name in LAUNCHES else 1
        return func(*args, **(kwargs or {}))


def operations(run: Callable[..., Tensor], inputs: Sequence[Tensor]) -> tuple[int, int]:
    """The operations of a forward and of a backward pass, counted in the second run."""
    run(*inputs)
    with Operations() as forward:
        y = run(*inputs)
    sources = [x for x in (*inputs, *parameters(run)) if x.requires_grad]
    above = torch.ones_like(y)
    with Operations() as backward:
        torch.autograd.grad(y, sources, above, allow_unused=True)
    return forward.counts.total(), backward.counts.total()


def parameters(run: Callable[..., Tensor]) -> list[Tensor]:
    """What a module learns; a function learns nothing."""
    return [*run.parameters()] if isinstance(run, torch.nn.Module) else []


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Tensors on the meta device take the path of an NVIDIA GPU, kernels included.

    No GPU is needed: a meta tensor has no values, and the library treats it as it treats any
    accelerator.
    """
    with patch.object(conditions, "_capable", lambda device: True):
        yield
