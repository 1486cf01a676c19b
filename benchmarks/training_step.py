"""What a training step of a module costs: time, memory kept for the backward pass, peak memory.

With glibc much of the spread is memory that is given back to the system between steps and faulted
in again. MALLOC_TRIM_THRESHOLD_=4000000000 MALLOC_MMAP_THRESHOLD_=4000000000 keeps it.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.measure import Row, milliseconds
from benchmarks.memory import kept_bytes, peak_bytes
from benchmarks.record import begin, command_line, finish, parse


@dataclass(frozen=True)
class Group:
    """Modules that are measured on the same input, each against the baseline among them.

    ``about`` is the same in every row, ``figures`` what else is measured of a module.
    """

    title: str
    x: Tensor
    modules: Mapping[str, nn.Module]
    about: Mapping[str, Any] = field(default_factory=dict)
    figures: Callable[[nn.Module, Tensor], Row] = lambda module, x: {}


def step(module: nn.Module, x: Tensor) -> None:
    """One forward and one backward pass."""
    y = module(x)
    torch.autograd.grad(y, [x, *module.parameters()], torch.ones_like(y), allow_unused=True)


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
            **group.figures(module, x),
        }


def table(title: str, rows: Sequence[Row], extra: Mapping[str, str]) -> str:
    """One group as aligned text; ``extra`` has the format of further columns."""
    formats = {"time_ms": ".2f", "time_iqr_ms": ".2f", "relative": ".2f"}
    formats |= {"kept_over_input": ".3f", "peak_over_input": ".2f"} | extra
    headings = ("step ms", "IQR", "relative", "kept/input", "peak/input", *extra)
    lines = [f"{title:40}" + "".join(f"{heading:>12}" for heading in headings)]
    for row in rows:
        figures = (
            "-" if row[key] is None else format(row[key], how) for key, how in formats.items()
        )
        lines.append(f"{row['layer']:40}" + "".join(f"{figure:>12}" for figure in figures))
    return "\n".join(lines)


def command(
    script: str,
    about: str,
    groups: Callable[[str, bool], Iterator[Group]],
    baseline: str,
    *,
    arguments: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    extra: Mapping[str, str] | None = None,
) -> None:
    """The command line of a benchmark: measure, print group by group, write.

    Args:
        script: its file.
        about: its docstring.
        groups: what to measure on a device, in a quick run or a full one.
        baseline: the module that each is compared with.
        arguments: the command line; by default the command line of the process.
        metadata: further facts about the run.
        extra: names of further figures, and their formats.
    """
    options = parse(command_line(Path(script).stem, script, about, (1.0, 0.1)), arguments)
    facts = begin(
        options,
        malloc_trim_threshold=os.environ.get("MALLOC_TRIM_THRESHOLD_", "default"),
        baseline=baseline,
        **(metadata or {}),
    )
    rows: list[Row] = []
    for group in groups(options.device, options.quick):
        some = list(measured(group, baseline, options.min_time))
        print(f"\n{table(group.title, some, extra or {})}", flush=True)
        rows += some
    finish(options, facts, rows)
