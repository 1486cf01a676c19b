"""Time of a training step, and memory kept for it, of the normalisation layers and their peers.

    python benchmarks/layers.py [--device cpu|cuda|auto] [--min-time S] [--output FILE]

A step is one forward and one backward pass. ``relative`` is the time over that of a textbook
whitening of the same features: transpose, centre, five Newton-Schulz steps, all left to autograd.

With glibc much of the spread is memory that is given back to the system between steps and faulted
in again. MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000 keeps it.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from measure import Row, milliseconds, peak_bytes
from record import SURROUNDINGS, surroundings, write
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import profile

import covlayers as cl
from covlayers import functional as F

SHAPES = ((64, 64, 32, 32), (64, 256, 8, 8))
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
GROUP_SIZE = 64
EPS = 1e-5
SCHEMA = {
    "metadata": f"{SURROUNDINGS} malloc_trim_threshold group_size eps min_time_s baseline",
    "rows": """
        layer shape memory_format time_ms time_iqr_ms relative kept_over_input peak_bytes whiteness
    """,
}
BASELINE = "textbook"


class Textbook(nn.Module):
    """Whitening as one writes it by hand: every step in the graph, every copy kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        channels_first = x.transpose(0, 1).contiguous()
        rows = channels_first.view(-1, GROUP_SIZE, x.numel() // x.shape[1])
        centred = rows - rows.mean(-1, keepdim=True)
        identity = torch.eye(GROUP_SIZE, device=x.device)
        cov = centred @ centred.mT / centred.shape[-1] + EPS * identity
        trace = cov.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        P, normed = identity, cov / trace
        for _ in range(5):
            P = 1.5 * P - 0.5 * P @ P @ P @ normed
        white = (P / trace.sqrt() @ centred).view_as(channels_first).transpose(0, 1).contiguous()
        return white * self.weight + self.bias


def layers(channels: int) -> dict[str, nn.Module]:
    """What is measured, by name."""
    whitening = partial(cl.DecorrelatedBatchNorm, channels, channels // GROUP_SIZE, EPS)
    return {
        BASELINE: Textbook(channels),
        "torch.nn.BatchNorm2d": nn.BatchNorm2d(channels),
        "DecorrelatedBatchNorm": whitening(),
        "DecorrelatedBatchNorm cholesky": whitening(kind="cholesky"),
        "DecorrelatedBatchNorm polar_express": whitening(method="polar_express"),
        "DecorrelatedBatchNorm MPA": whitening(method=F.Pade(5), backward=F.Lyapunov(8)),
        "IterNorm": cl.IterNorm(channels, channels // GROUP_SIZE, EPS),
        "PCANorm": cl.PCANorm(channels, channels // 4),
        "GroupWhitening": cl.GroupWhitening(channels, 16),
        "SwitchableWhitening": cl.SwitchableWhitening(channels, channels // 16),
    }


def features(shape: Sequence[int], memory_format: str, device: str) -> Tensor:
    """Channels mixed at random, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    channels = shape[1]
    mix = torch.randn(channels, channels, generator=generator) / channels**0.5
    x = torch.randn(shape, generator=generator)
    x = torch.einsum("dc,nchw->ndhw", mix + torch.eye(channels), x)
    return x.to(device).contiguous(memory_format=FORMATS[memory_format])


def step(layer: nn.Module, x: Tensor, weight: Tensor) -> None:
    """One forward and one backward pass."""
    torch.autograd.grad(layer(x), [x, *layer.parameters()], weight)


def kept_bytes(layer: nn.Module, x: Tensor) -> int:
    """What a forward pass leaves in memory beside its output, and the input if that is kept."""
    layer(x)  # buffers that are made at the first pass are not counted
    seen: set[int] = set()
    with saved_tensors_hooks(lambda t: seen.add(t.untyped_storage().data_ptr()) or t, lambda t: t):
        layer(x)
    with profile(profile_memory=True) as profiled:
        y = layer(x)
    device = "device" if x.is_cuda else "cpu"
    events = profiled.key_averages()
    left = sum(getattr(event, f"self_{device}_memory_usage") for event in events) - y.nbytes
    return left + (x.nbytes if x.untyped_storage().data_ptr() in seen else 0)


def whiteness(y: Tensor) -> float:
    """The largest entry of the covariance of the first group, less the identity."""
    rows = y.detach().cpu().double().transpose(0, 1).flatten(1)[:GROUP_SIZE]
    return float((torch.cov(rows, correction=0) - torch.eye(GROUP_SIZE)).abs().max())


def measure_group(
    shape: Sequence[int], memory_format: str, device: str, min_time: float
) -> list[Row]:
    """One row a layer, on the same features."""
    x = features(shape, memory_format, device).requires_grad_()
    weight = x.detach().sin()
    built = {name: layer.to(device) for name, layer in layers(shape[1]).items()}
    steps = [partial(step, layer, x, weight) for layer in built.values()]
    times = dict(zip(built, milliseconds(steps, min_time), strict=True))
    return [
        {
            "layer": name,
            "shape": list(shape),
            "memory_format": memory_format,
            "time_ms": times[name][0],
            "time_iqr_ms": times[name][1],
            "relative": times[name][0] / times[BASELINE][0],
            "kept_over_input": kept_bytes(layer, x) / x.nbytes,
            "peak_bytes": peak_bytes(run, x.device),
            "whiteness": whiteness(layer(x)),
        }
        for (name, layer), run in zip(built.items(), steps, strict=True)
    ]


def table(rows: Sequence[Row]) -> str:
    """One group as aligned text."""
    title = f"{tuple(rows[0]['shape'])}, {rows[0]['memory_format']}"
    headings = ("step ms", "IQR", "relative", "kept / input", "|cov - I|")
    lines = [f"{title:38}" + "".join(f"{heading:>14}" for heading in headings)]
    for row in rows:
        figures = (
            *(format(row[key], ".2f") for key in ("time_ms", "time_iqr_ms", "relative")),
            *(format(row["kept_over_input"], ".3f"), format(row["whiteness"], ".0e")),
        )
        lines.append(f"{row['layer']:38}" + "".join(f"{figure:>14}" for figure in figures))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print group by group, write."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser("layers.py", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--min-time", type=float, default=1.0, metavar="S", help="for each timing")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: in results/")
    chosen = parser.parse_args(arguments)
    available = "cuda" if torch.cuda.is_available() else "cpu"
    device = available if chosen.device == "auto" else chosen.device
    about: dict[str, Any] = surroundings("layers.py", arguments, device) | {
        "malloc_trim_threshold": os.environ.get("MALLOC_TRIM_THRESHOLD_", "default"),
        "group_size": GROUP_SIZE,
        "eps": EPS,
        "min_time_s": chosen.min_time,
        "baseline": BASELINE,
    }
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    rows: list[Row] = []
    for shape, memory_format in product(SHAPES, FORMATS):
        group = measure_group(shape, memory_format, device, chosen.min_time)
        print(f"\n{table(group)}", flush=True)
        rows += group
    output = chosen.output or Path(__file__).parent / "results" / f"layers-{device}.json"
    write({"metadata": about, "rows": rows}, SCHEMA, output)
    print(f"\nwritten to {output}")


if __name__ == "__main__":
    main()
