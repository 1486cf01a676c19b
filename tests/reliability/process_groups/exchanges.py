"""What layers exchange, with which processes, and what one infinity does to all of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor.debug import CommDebugMode

import covlayers
from tests.distributed.parity import LAYERS, Result

SUMS: dict[str, tuple[Callable[[nn.Module], nn.Module], int]] = {
    "in training": (nn.Module.train, 2),
    "in evaluation": (nn.Module.eval, 0),
    "frozen": (covlayers.freeze_stats, 0),
}
"""How a layer is changed, and how many sums over the processes a step of it then takes."""

SYNC = {"auto": "auto", "True": True, "False": False, "a group": None}


def batch(rank: int) -> Tensor:
    """What a process has, of which the next one has more."""
    generator = torch.Generator().manual_seed(rank)
    return rank + torch.randn(3 + rank, 8, 5, 5, generator=generator, dtype=torch.float64)


Found = Mapping[str, list[Any]]
"""What each process found, by name."""


def step(layer: nn.Module, x: Tensor) -> Tensor:
    y = layer(x.requires_grad_())
    y.square().sum().backward()
    return y.detach()


def members(sync: str, rank: int, processes: int) -> list[int]:
    """The processes that share statistics with ``rank``; the last has a group of its own."""
    everyone = list(range(processes))
    group = everyone[:-1] if rank < processes - 1 else everyone[-1:]
    return {"False": [rank], "a group": group}.get(sync, everyone)


def counted(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """The collectives of a step."""
    for name in names:
        for how, (change, _) in SUMS.items():
            with CommDebugMode() as counter:
                step(change(LAYERS[name]()), batch(dist.get_rank()).float())
            yield f"{name}, {how}", counter.get_total_counts()


def synchronised(names: Iterable[str]) -> Iterator[tuple[str, Result]]:
    """Output and running averages, by what ``sync`` is."""
    rank, processes = dist.get_rank(), dist.get_world_size()
    parts = [members("a group", one, processes) for one in (0, processes - 1)]
    group, _ = dist.new_subgroups_by_enumeration(parts)
    for name in names:
        for word, sync in SYNC.items():
            layer = LAYERS[name]().double()
            if word == "a group":
                covlayers.convert_sync(layer, group)
            else:
                layer.sync = sync
            yield f"{name}, sync={word}", moved(layer, batch(rank))


def in_one_process(name: str, sync: str, rank: int, processes: int) -> Result:
    """The same by one process that has what the members have."""
    those = members(sync, rank, processes)
    parts = [batch(one) for one in those]
    result = moved(LAYERS[name]().double(), torch.cat(parts))
    outputs = result["output"].split([len(part) for part in parts])
    return result | {"output": outputs[those.index(rank)]}


def moved(layer: nn.Module, x: Tensor) -> Result:
    y = step(layer, x)
    return {"output": y, "mean": layer.running_mean, "covariance": layer.running_cov}


def poisoned(names: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Whether averages stay when the first process meets an infinity, and move on after it."""
    rank = dist.get_rank()
    for name in names:
        layer = LAYERS[name]().double()
        step(layer, batch(rank))
        before = {key: value.clone() for key, value in layer.state_dict().items()}
        x = batch(rank)
        if rank == 0:
            x[1, 2, 3, 4] = torch.inf
        step(layer, x)
        stays = all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
        step(layer, batch(rank))
        moves = layer.num_batches_tracked == 2 and layer.running_cov.isfinite().all()
        yield name, bool(stays and moves)


def sums_held(found: Found, processes: int, names: Iterable[str]) -> dict[str, bool]:
    return {
        f"{name}, {how}, {processes} processes": found.get(f"counted: {name}, {how}")
        == [number] * processes
        for name in names
        for how, (_, number) in SUMS.items()
    }


def members_held(found: Found, processes: int, names: Iterable[str]) -> dict[str, bool]:
    held = {}
    for name, sync, rank in product(names, SYNC, range(processes)):
        each = found.get(f"synchronised: {name}, sync={sync}")
        own = in_one_process(name, sync, rank, processes)
        held[f"{name}, sync={sync}, process {rank} of {processes}"] = each is not None and all(
            torch.allclose(each[rank][key], own[key], rtol=1e-11, atol=1e-11) for key in own
        )
    return held


def infinity_held(found: Found, processes: int, names: Iterable[str]) -> dict[str, bool]:
    return {
        f"{name}, {processes} processes": found.get(f"poisoned: {name}") == [True] * processes
        for name in names
    }
