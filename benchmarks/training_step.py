"""What a training step of a module costs: time, memory kept for the backward pass, peak memory.

With glibc much of the spread is memory that is given back to the system between steps and faulted
in again. MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000 keeps it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import Row, milliseconds
from record import SURROUNDINGS, surroundings, write
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.profiler import profile

METADATA = f"{SURROUNDINGS} malloc_trim_threshold min_time_s baseline"
ROWS = "layer shape time_ms time_iqr_ms relative kept_over_input peak_over_input"


@dataclass(frozen=True)
class Group:
    """Modules that are measured on the same input, each against the baseline among them."""

    title: str
    x: Tensor
    modules: Mapping[str, nn.Module]
    about: Mapping[str, Any] = field(default_factory=dict)


def step(module: nn.Module, x: Tensor) -> None:
    """One forward and one backward pass."""
    y = module(x)
    torch.autograd.grad(y, [x, *module.parameters()], torch.ones_like(y), allow_unused=True)


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
    """The most memory that a step takes on top of its input and parameters."""
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


def measured(group: Group, baseline: str, min_time: float) -> Iterator[Row]:
    """One row a module."""
    x = group.x.requires_grad_()
    steps = [partial(step, module, x) for module in group.modules.values()]
    times = dict(zip(group.modules, milliseconds(steps, min_time), strict=True))
    for (name, module), run in zip(group.modules.items(), steps, strict=True):
        yield {
            "layer": name,
            "shape": list(x.shape),
            **group.about,
            "time_ms": times[name][0],
            "time_iqr_ms": times[name][1],
            "relative": times[name][0] / times[baseline][0],
            "kept_over_input": kept_bytes(module, x) / x.nbytes,
            "peak_over_input": peak_bytes(run, x.device) / x.nbytes,
        }


def table(title: str, rows: Sequence[Row], extra: Mapping[str, str]) -> str:
    """One group as aligned text; ``extra`` has the format of further columns."""
    formats = {"time_ms": ".2f", "time_iqr_ms": ".2f", "relative": ".2f"}
    formats |= {"kept_over_input": ".3f", "peak_over_input": ".2f"} | extra
    headings = ("step ms", "IQR", "relative", "kept/input", "peak/input", *extra)
    lines = [f"{title:40}" + "".join(f"{heading:>12}" for heading in headings)]
    for row in rows:
        figures = (format(row[key], how) for key, how in formats.items())
        lines.append(f"{row['layer']:40}" + "".join(f"{figure:>12}" for figure in figures))
    return "\n".join(lines)


def command(
    script: str,
    about: str,
    groups: Callable[[str], Iterator[Group]],
    baseline: str,
    *,
    arguments: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    figures: Callable[[nn.Module, Tensor], Row] = lambda module, x: {},
    extra: Mapping[str, str] | None = None,
) -> None:
    """The command line of a benchmark: measure, print group by group, write.

    Args:
        script: its file.
        about: its docstring.
        groups: what to measure on a device.
        baseline: the module that each is compared with.
        arguments: the command line; by default that of the process.
        metadata: further facts about the run.
        figures: what else is measured of a module.
        extra: names of those figures, and their formats.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(script, description=about.splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--min-time", type=float, default=1.0, metavar="S", help="for each timing")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: in results/")
    chosen = parser.parse_args(arguments)
    available = "cuda" if torch.cuda.is_available() else "cpu"
    device = available if chosen.device == "auto" else chosen.device
    facts: dict[str, Any] = surroundings(script, arguments, device) | {
        "malloc_trim_threshold": os.environ.get("MALLOC_TRIM_THRESHOLD_", "default"),
        "min_time_s": chosen.min_time,
        "baseline": baseline,
        **(metadata or {}),
    }
    print("\n".join(f"{key}: {value}" for key, value in facts.items()))
    rows: list[Row] = []
    for group in groups(device):
        some = list(measured(group, baseline, chosen.min_time))
        for row, module in zip(some, group.modules.values(), strict=True):
            row |= figures(module, group.x)
        print(f"\n{table(group.title, some, extra or {})}", flush=True)
        rows += some
    stem = Path(script).stem
    output = chosen.output or Path(__file__).parent / "results" / f"{stem}-{device}.json"
    schema = {
        "metadata": " ".join([METADATA, *(metadata or {})]),
        "rows": " ".join([ROWS, *(extra or {})]),
    }
    write({"metadata": facts, "rows": rows}, schema, output)
    print(f"\nwritten to {output}")
