"""The memory that a computation keeps for its backward pass, and the most that it takes."""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import profile

from benchmarks.cells import Run

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own messages, two a run


def saved_bytes(run: Run, A: Tensor) -> int:
    """The memory that the graph holds for the backward pass, each storage counted once."""
    storages: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x.detach()

    with saved_tensors_hooks(pack, lambda x: x):
        _graph = run(A)  # held to the end: a storage that is freed could be counted again
    return sum(storages.values())


def kept_bytes(module: nn.Module, x: Tensor) -> int:
    """What a forward pass leaves in memory beside its output, and the input if that is kept."""
    module(x)  # buffers that are made at the first pass are not counted
    seen: set[int] = set()
    with saved_tensors_hooks(lambda t: seen.add(t.untyped_storage().data_ptr()) or t, lambda t: t):
        module(x)
    held: list[Tensor] = []
    left = sum(_memory_events(lambda: held.append(module(x)), x.device)) - held[0].nbytes
    return left + (x.nbytes if x.untyped_storage().data_ptr() in seen else 0)


def peak_bytes(run: Callable[[], object], device: torch.device) -> int:
    """The most memory that a run takes on top of what there is before it."""
    used = peak = 0
    for change in _memory_events(run, device):
        used += change
        peak = max(peak, used)
    return peak


def _memory_events(run: Callable[[], object], device: torch.device) -> list[int]:
    """What is allocated (positive) and freed (negative) in the course of a run, in bytes."""
    with profile(profile_memory=True) as profiled:
        run()
    events = profiled.profiler.kineto_results.events()
    memory = [event for event in events if event.name() == "[memory]"]
    here = [event for event in memory if event.device_type().name.lower() == device.type]
    return [event.nbytes() for event in sorted(here, key=lambda event: event.start_ns())]
