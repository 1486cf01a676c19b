"""Everything that the processes of a group do, and what one process does in its place."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.distributed.parity import LAYERS, SHARDS, Case, Result, cases, network, train
from tests.reliability.process_groups import exchanges, whole_layers
from tests.reliability.process_groups.shared_training import (
    Trial,
    accumulated,
    averages_of_averages,
    checkpointed,
    described,
    frozen,
    penalised,
    restored,
    written,
)

QUICK = ("zca", "pca", "IterNorm", "switchable")
TRIALS: dict[str, Trial] = {
    "trained": train,
    "averages of averages": averages_of_averages,
    "frozen": frozen,
    "accumulated": accumulated,
    "checkpointed": checkpointed,
    "penalised": penalised,
    "read": lambda model, case, part: described(model),
    "written": written,
}


def layers(*, full: bool) -> tuple[str, ...]:
    return tuple(LAYERS) if full else QUICK


def tried(trial: str, processes: int, *, full: bool) -> Iterator[Case]:
    """The cases of a trial."""
    for case in cases(processes):
        uneven = case.shards in ("unequal", "three")
        if case.layer not in layers(full=full):
            continue
        if case.compiled and (not full or processes == 2 or trial != "trained"):
            continue  # of two processes in tests/distributed
        if trial == "penalised" and case.layer == "PCANorm":
            continue  # it has no second derivative
        if trial in ("read", "written") and not uneven:
            continue
        yield case


def titled(case: Case) -> str:
    sizes = " + ".join(map(str, SHARDS[case.shards]))
    return f"{case.layer}, {sizes}{', compiled' * case.compiled}"


def write_checkpoints(folder: str) -> None:
    """The checkpoints of one process, from which every trial starts."""
    for layer in LAYERS:
        case = Case(layer, "equal", compiled=False)
        model = network(case)
        train(model, case, slice(None))
        torch.save(model.state_dict(), f"{folder}/{layer}.pt")


def in_one_process(trial: str, layer: str, folder: str) -> Result:
    case = Case(layer, "equal", compiled=False)
    return TRIALS[trial](restored(case, folder), case, slice(None))


def in_several(trial: str, case: Case, folder: str) -> Result:
    sizes = SHARDS[case.shards]
    start = sum(sizes[: dist.get_rank()])
    model = DistributedDataParallel(restored(case, folder))
    return TRIALS[trial](model, case, slice(start, start + sizes[dist.get_rank()]))


def work(full: bool, folder: str) -> Iterator[tuple[str, Any]]:
    """What each process of a group does."""
    processes, names = dist.get_world_size(), layers(full=full)
    for trial in TRIALS:
        for case in tried(trial, processes, full=full):
            yield f"{trial}: {titled(case)}", in_several(trial, case, folder)
    for part in (exchanges.counted, exchanges.synchronised, exchanges.poisoned):
        for name, result in part(names):
            yield f"{part.__name__}: {name}", result
    if processes == 2:
        yield "SyncBatchNorm", sync_batchnorm_runs()
        yield from whole_layers.by_lightning()


def sync_batchnorm_runs() -> bool:
    try:
        nn.SyncBatchNorm(8)(exchanges.batch(dist.get_rank()))
    except ValueError:
        return False
    return True
