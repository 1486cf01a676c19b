"""Several processes on shards of a batch against one process on all of it.

    python -m tests.distributed.parity

prints the differences as a table. Each network is a convolution, a layer and another convolution,
trained by DistributedDataParallel over gloo.
"""

import math
import os
import tempfile
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

import covlayers
from tests.forked import CONTEXT

STEPS = 5
SHARDS = {"equal": (4, 4), "unequal": (7, 1), "empty": (8, 0), "three": (3, 0, 5)}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    **{
        kind: lambda kind=kind: covlayers.DecorrelatedBatchNorm(8, 2, kind=kind)
        for kind in ("zca", "cholesky", "zca_cor", "pca", "pca_cor")
    },
    "eight groups": lambda: covlayers.DecorrelatedBatchNorm(8, 8),
    "polar express": lambda: covlayers.DecorrelatedBatchNorm(8, method="polar_express"),
    "cumulative": lambda: covlayers.DecorrelatedBatchNorm(8, 2, momentum=None),
    "IterNorm": lambda: covlayers.IterNorm(8, 2),
    "PCANorm": lambda: covlayers.PCANorm(8, 3),
    "switchable": lambda: covlayers.SwitchableWhitening(
        8, 2, statistics=("bw", "iw", "bn", "in", "ln")
    ),
}
# Compiled, every kind of shards is traced alike: counts are tensors. "three" has a process without
# samples.
COMPILED = {"unequal": ("IterNorm", "switchable"), "three": ("zca",)}
DOUBLE = ("pca", "pca_cor")  # whose gradient multiplies rounding by the inverse of the gaps

Result = dict[str, Tensor]


class Case(NamedTuple):
    """A layer, how the batch is shared out, and whether the layer is compiled."""

    layer: str
    shards: str
    compiled: bool


def cases(processes: int) -> list[Case]:
    """All that run on that many processes."""
    shards = [name for name, sizes in SHARDS.items() if len(sizes) == processes]
    eager = [Case(layer, name, False) for layer, name in product(LAYERS, shards)]
    return eager + [Case(layer, name, True) for name in shards for layer in COMPILED.get(name, ())]


def network(case: Case) -> nn.Sequential:
    torch.manual_seed(0)
    norm = LAYERS[case.layer]()
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.ReLU(), nn.Conv2d(8, 2, 3))
    return model.double() if case.layer in DOUBLE else model


def train(model: nn.Module, case: Case, part: slice) -> Result:
    """Some steps of SGD on part of each batch: what came out, and the running averages."""
    dtype = next(model.parameters()).dtype
    processes = dist.get_world_size() if dist.is_initialized() else 1
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(2)
    result: Result = {}
    for step in range(STEPS):
        x = 3 + torch.randn(8, 3, 7, 7, generator=generator).to(dtype)[part]
        target = torch.randn(8, 2, 3, 3, generator=generator).to(dtype)[part]
        x.requires_grad_()
        optimizer.zero_grad()
        y = model(x)
        # DistributedDataParallel averages over the processes.
        (processes * (y - target).square().sum() / 8).backward()
        result[f"output {step}"] = y.detach().clone()
        result[f"input gradient {step}"] = x.grad / processes
        for i, parameter in enumerate(model.parameters()):
            result[f"parameter gradient {step} {i}"] = parameter.grad.clone()
        optimizer.step()
    running = [value for name, value in model.state_dict().items() if "running" in name]
    return result | {f"running {i}": value.clone() for i, value in enumerate(running)}


def process(rank: int, processes: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store{processes}", processes)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=processes)
    for number, case in enumerate(cases(processes)):
        sizes = SHARDS[case.shards]
        start = sum(sizes[:rank])
        model = network(case)
        if case.compiled:
            torch._dynamo.reset()
            model[1].compile(fullgraph=True, backend="aot_eager", dynamic=False)
        model = DistributedDataParallel(model)
        result = train(model, case, slice(start, start + sizes[rank]))
        torch.save(result, f"{folder}/{processes}-{number}-{rank}.pt")
    dist.destroy_process_group()


def compare(alone: Result, together: list[Result]) -> dict[str, float]:
    """The largest difference of each quantity, relative to its largest entry if above one."""
    worst: dict[str, float] = {}
    for key, expected in alone.items():
        quantity = key.rstrip("0123456789 ")
        if quantity in ("output", "input gradient"):
            actual = [torch.cat([result[key] for result in together])]
        else:
            actual = [result[key] for result in together]
        for one in actual:
            error = (one.double() - expected.double()).abs().max() / expected.abs().max().clamp(1)
            worst[quantity] = max(worst.get(quantity, 0.0), float(error.nan_to_num(math.inf)))
    return worst


def measure(processes: int) -> dict[Case, dict[str, float]]:
    """The differences of every case on that many processes."""
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(
            process, (processes, folder), processes, start_method=CONTEXT.get_start_method()
        )
        results = {}
        for number, case in enumerate(cases(processes)):
            files = [Path(folder, f"{processes}-{number}-{rank}.pt") for rank in range(processes)]
            together = [torch.load(file, weights_only=True) for file in files]
            results[case] = compare(train(network(case), case, slice(None)), together)
        return results


def main() -> None:
    print("| layer | shards | mode | output | input gradient | parameter gradient | running |")
    print("|---|---|---|---|---|---|---|")
    for processes in (2, 3):
        for case, errors in measure(processes).items():
            shown = " | ".join(f"{error:.0e}" for error in errors.values())
            sizes = " + ".join(map(str, SHARDS[case.shards]))
            print(
                f"| {case.layer} | {sizes} | {'compiled' if case.compiled else 'eager'} | {shown} |"
            )


if __name__ == "__main__":
    main()
