r"""A training step of a small network in one process and in two, on one machine.

    python -m benchmarks.data_parallel [--quick] [--output FILE]

DistributedDataParallel over gloo, one thread a process, the same batch shared out. Beside the
gradients, a whitening layer of :math:`C` channels in :math:`G` groups sums over the processes, once
forward and once backward,

.. math:: 8\,(1 + C + C^2/G) \quad\text{and}\quad 4\,(C + C^2/G) \text{ bytes}

in float32: the number of positions, the sums and the squares in float64, then the gradients. The
batch, the positions and the number of processes are not in it.
"""

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import quantiles

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import covlayers as cl
from benchmarks.measure import Row, seconds
from benchmarks.record import begin, command_line, finish, parse

Case = tuple[int, int]
"""Channels and groups of a layer."""

SHAPE = (32, 3, 32, 32)
LAYERS: tuple[Case, ...] = ((64, 1), (64, 4), (256, 4))
WARM_STEPS = 3
TIMEOUT = timedelta(minutes=2)


def bytes_all_reduced(num_features: int, num_groups: int, itemsize: int = 4) -> int:
    """What a layer hands to the collective in a training step.

    Args:
        num_features: channels.
        num_groups: of channels.
        itemsize: bytes of a number of the type that the layer computes in.
    """
    squares = num_features**2 // num_groups
    return 8 * (1 + num_features + squares) + itemsize * (num_features + squares)


def network(norm: nn.Module, channels: int) -> nn.Module:
    """A convolution on either side."""
    return nn.Sequential(
        nn.Conv2d(SHAPE[1], channels, 3), norm, nn.ReLU(), nn.Conv2d(channels, 8, 3)
    )


def norms(channels: int, num_groups: int) -> dict[str, nn.Module]:
    """The layers that are compared."""
    return {
        "none": nn.Identity(),
        "DecorrelatedBatchNorm": cl.DecorrelatedBatchNorm(channels, num_groups),
    }


def work(rank: int, processes: int, folder: str, steps: int, cases: Sequence[Case]) -> None:
    """One process: the seconds of its steps go to a file of the folder."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    init = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init, TIMEOUT, processes, rank)
    x = torch.randn(SHAPE).chunk(processes)[rank]
    samples = {}
    for case in cases:
        for name, norm in norms(*case).items():
            model = DistributedDataParallel(network(norm, case[0]))
            step = partial(_step, model, x)
            samples[*case, name] = [seconds(step) for _ in range(WARM_STEPS + steps)][WARM_STEPS:]
    torch.save(samples, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def _step(model: nn.Module, x: torch.Tensor) -> None:
    model(x).square().mean().backward()
    dist.barrier()


def measured(processes: int, steps: int) -> list[Row]:
    """One row a network; the first process takes the times."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, (processes, folder, steps, LAYERS), nprocs=processes)
        samples = torch.load(Path(folder) / "0.pt", weights_only=True)
    rows = []
    for (channels, num_groups, name), own in samples.items():
        low, median, high = (1e3 * q for q in quantiles(own, method="inclusive"))
        rows.append(
            {
                "processes": processes,
                "layer": name,
                "num_features": channels,
                "num_groups": num_groups,
                "shape": list(SHAPE),
                "time_ms": median,
                "time_iqr_ms": high - low,
                "samples_per_s": 1e3 * SHAPE[0] / median,
                "bytes_all_reduced": bytes_all_reduced(channels, num_groups)
                if processes > 1 and name != "none"
                else 0,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parse(
        command_line("data_parallel", "data_parallel.py", __doc__, (1.0, 0.1)), arguments
    )
    metadata = begin(options, backend="gloo", threads=1)
    print(f"\n{'':54}{'step ms':>10}{'IQR':>8}{'samples/s':>11}{'bytes':>10}")
    rows: list[Row] = []
    for processes in (1, 2):
        for row in measured(processes, 4 if options.quick else 30):
            title = "{processes} x, {num_features} channels, {num_groups} groups, {layer}".format(
                **row
            )
            figures = (
                f"{row['time_ms']:>10.1f}{row['time_iqr_ms']:>8.1f}{row['samples_per_s']:>11.0f}"
            )
            print(f"{title:54}{figures}{row['bytes_all_reduced']:>10}", flush=True)
            rows.append(row)
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
