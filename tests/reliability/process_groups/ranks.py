"""Processes of a gloo group on this machine, all of which end within a time limit."""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist

from tests.forked import CONTEXT

MEETING = timedelta(seconds=60)
LIMIT = 240.0  # seconds for all that a group does

Work = Callable[..., Iterator[tuple[str, Any]]]
"""What a process of a group does: a generator of names and of what they came to."""


def results(work: Work, processes: int, *arguments: Any) -> dict[str, list[Any]]:
    """What each process found, by name and then by rank; a name that one of them lacks is absent.

    A process that fails leaves out the rest, and so do the others, whose sums then fail.
    """
    with tempfile.TemporaryDirectory() as folder:
        ended(_in_a_group, processes, folder, work, arguments)
        by_name = found(folder)
    return {name: each for name, each in by_name.items() if len(each) == processes}


def _in_a_group(
    rank: int, processes: int, folder: str, work: Work, arguments: tuple[Any, ...]
) -> None:
    meet(f"{folder}/meeting", rank, processes, MEETING)
    for number, (name, result) in enumerate(work(*arguments)):
        keep(folder, rank, number, name, result)
    dist.destroy_process_group()


def meet(path: str, rank: int, processes: int, timeout: timedelta) -> None:
    """The default process group, whose collectives fail after a timeout."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = dist.FileStore(path, processes)
    store.set(f"here {rank}", "")  # some take longer to start than the timeout may be
    store.wait([f"here {other}" for other in range(processes)], MEETING)
    dist.init_process_group("gloo", store=store, timeout=timeout, rank=rank, world_size=processes)


def keep(folder: str, rank: int, number: int, name: str, result: Any) -> None:
    """Keep a result for the process that started this one."""
    path = Path(folder, f"{number:04}-{rank}")
    torch.save((name, result), path.with_suffix(".part"))
    path.with_suffix(".part").rename(path.with_suffix(".pt"))


def found(folder: str) -> dict[str, list[Any]]:
    """What was kept, by name and then by rank."""
    by_name: dict[str, list[Any]] = {}
    for path in sorted(Path(folder).glob("*.pt")):
        name, result = torch.load(path, weights_only=True)
        by_name.setdefault(name, []).append(result)
    return by_name


def ended(work: Callable[..., None], processes: int, *arguments: Any) -> list[bool]:
    """Whether each process came to an end by itself; one that did not in time is killed."""
    started = [
        CONTEXT.Process(target=work, args=(rank, processes, *arguments))
        for rank in range(processes)
    ]
    for process in started:
        process.start()
    end = monotonic() + LIMIT
    for process in started:
        process.join(max(0.0, end - monotonic()))
    in_time = [not process.is_alive() for process in started]
    for process in started:
        process.kill()
        process.join()
    return in_time
