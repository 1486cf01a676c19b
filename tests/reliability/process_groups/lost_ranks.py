"""Processes of a group that are lost in the middle of a step, one after another."""

import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

import torch
import torch._dynamo  # takes seconds, and DistributedDataParallel imports it
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import covlayers
from tests.reliability.process_groups.ranks import ended, found, keep, meet

TIMEOUT = timedelta(seconds=3)


def die(*_: Any) -> None:
    os._exit(1)


def stall(seen: Path, *_: Any) -> None:
    """Until another process has kept what it saw, so that only the timeout can free that one."""
    while not seen.exists():
        sleep(0.1)
    os._exit(1)


EVENTS = {
    "dies before the backward sum": (nn.Module.register_full_backward_pre_hook, die),
    "stalls before the forward sum": (nn.Module.register_forward_pre_hook, stall),
    "dies before the forward sum": (nn.Module.register_forward_pre_hook, die),
    "dies before the sum of gradients": (nn.Module.register_full_backward_hook, die),
}


def step(event: str, seen: Path | None) -> None:
    """A step of training; a process that is told what to wait for is lost in the layer."""
    norm = covlayers.DecorrelatedBatchNorm(8, 2)
    model = DistributedDataParallel(nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.Conv2d(8, 2, 3)))
    if seen is not None:
        register, strike = EVENTS[event]
        register(norm, partial(strike, seen))
    model(torch.randn(4, 3, 7, 7)).square().sum().backward()


def survive(rank: int, processes: int, folder: str, events: tuple[str, ...]) -> None:
    """Each event takes the last process of a group; the others make a group of their own."""
    for number, event in enumerate(events):
        left = processes - number
        meet(f"{folder}/meeting of {left}", rank, left, TIMEOUT)
        start, error = perf_counter(), "none"
        try:
            step(event, Path(folder, f"{number:04}-0.pt") if rank == left - 1 else None)
        except Exception as raised:  # of whatever type the collective has
            error = f"{type(raised).__name__}: {raised}"
        keep(folder, rank, number, event, {"seconds": perf_counter() - start, "error": error})
        dist.destroy_process_group()


def losses(number: int) -> tuple[dict[str, bool], float]:
    """Whether each survivor of the first events has an error, and the longest time to it."""
    events = tuple(EVENTS)[:number]
    with TemporaryDirectory() as folder:
        ended(survive, number + 1, folder, events)
        by_event = found(folder)
    held, times = {}, [0.0]
    for left, event in zip(range(number, 0, -1), events, strict=True):
        each = by_event.get(event, [])
        for rank in range(left):
            saw = each[rank] if len(each) == left else {"seconds": 0.0, "error": "none"}
            times.append(saw["seconds"])
            held[f"{event}, process {rank} of {left + 1}: {saw['error']:.60}"] = (
                saw["error"] != "none"
            )
    return held, max(times)
