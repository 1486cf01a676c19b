"""How time and memory grow with the size of the matrices, their number and the positions.

    python -m benchmarks.scaling [--quick] [--device cpu|cuda|auto] [--output FILE]

One of ``n`` (the channels), ``batch`` and ``positions`` varies, the others stay. An exponent is the
slope of the least squares line through the logarithms of the upper half of the sizes: 3 along ``n``
is the cost of a matrix product. Peak is what a step, forward and backward, takes on top of its
input; kept is what is left for the backward pass.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import linear_regression

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.measure import Row, milliseconds, spd
from benchmarks.memory import kept_bytes, peak_bytes
from benchmarks.record import begin, command_line, finish, parse
from benchmarks.training_step import step
from covlayers import functional as F

FIXED = {"n": 64, "batch": 16, "positions": 256}
SIZES = {
    "n": (16, 32, 64, 128, 256),
    "batch": (4, 8, 16, 32, 64),
    "positions": (64, 256, 1024, 4096),
}
QUICK_SIZES = 3  # the smallest
CONDITION = 1e4
UNITS = {"time_ms": 1.0, "peak_bytes": 2**20, "kept_bytes": 2**20}


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


@dataclass(frozen=True)
class Subject:
    """What is measured: a module for ``n`` channels, and what it takes."""

    make: Callable[[int], nn.Module]
    takes: Callable[..., Tensor]
    along: tuple[str, ...]


def matrices(n: int, batch: int, positions: int) -> Tensor:
    """Ill-conditioned symmetric matrices."""
    return spd(n, batch, CONDITION, torch.Generator().manual_seed(0)).float()


def features(n: int, batch: int, positions: int) -> Tensor:
    """Features of ``n`` channels."""
    return torch.randn(batch, n, positions, 1, generator=torch.Generator().manual_seed(0))


def subjects() -> dict[str, Subject]:
    """What is measured, by name."""

    def root(function: Callable[..., Tensor], **options: object) -> Subject:
        return Subject(lambda n: Call(partial(function, **options)), matrices, ("n", "batch"))

    every = tuple(SIZES)
    return {
        "sqrtm": root(F.sqrtm),
        "invsqrtm": root(F.invsqrtm),
        "invsqrtm polar_express": root(F.invsqrtm, method="polar_express"),
        "covariance": Subject(
            lambda n: Call(lambda x: F.covariance(x.flatten(2))), features, every
        ),
        "DecorrelatedBatchNorm": Subject(cl.DecorrelatedBatchNorm, features, every),
        "CovPool": Subject(cl.CovPool, features, every),
    }


def curve(
    name: str, subject: Subject, along: str, sizes: Sequence[int], device: str, min_time: float
) -> Row:
    """Time and memory along one dimension, and their exponents."""
    dimensions = [FIXED | {along: size} for size in sizes]
    inputs = [subject.takes(**d).to(device).requires_grad_() for d in dimensions]
    modules = [subject.make(d["n"]).to(device) for d in dimensions]
    steps = [partial(step, module, x) for module, x in zip(modules, inputs, strict=True)]
    figures: dict[str, list[float]] = {
        "kept_bytes": [kept_bytes(module, x) for module, x in zip(modules, inputs, strict=True)],
        "peak_bytes": [peak_bytes(run, x.device) for run, x in zip(steps, inputs, strict=True)],
        "time_ms": [median for median, _ in milliseconds(steps, min_time)],
    }
    slopes = {f"{key.split('_')[0]}_exponent": exponent(sizes, y) for key, y in figures.items()}
    return {"what": name, "along": along, "sizes": list(sizes), **figures, **slopes}


def exponent(sizes: Sequence[int], figures: Sequence[float]) -> float | None:
    """The slope in log-log of the upper half; None where a figure is not positive."""
    upper = list(zip(sizes, figures, strict=True))[(len(sizes) - 1) // 2 :]
    if min(figure for _, figure in upper) <= 0:
        return None
    x, y = ([math.log(value) for value in column] for column in zip(*upper, strict=True))
    return linear_regression(x, y).slope


def line(row: Mapping[str, object]) -> str:
    """One curve as aligned text, memory in MiB."""
    text = f"{row['what']:24}{row['along']:11}"
    for key, unit in UNITS.items():
        slope = row[f"{key.split('_')[0]}_exponent"]
        figures = " ".join(f"{value / unit:.3g}" for value in row[key])
        text += f"{figures:38}{'-' if slope is None else f'{slope:.2f}':>6}  "
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print curve by curve, write."""
    options = parse(command_line("scaling", "scaling.py", __doc__, (0.5, 0.02)), arguments)
    metadata = begin(options, fixed=FIXED, condition_number=CONDITION)
    kept = slice(QUICK_SIZES if options.quick else None)
    headings = "".join(f"{heading:46}" for heading in ("step ms", "peak MiB", "kept MiB"))
    print("\n" + "\n".join(f"{along}: {sizes[kept]}" for along, sizes in SIZES.items()))
    print(f"\n{'':35}{headings}")
    rows: list[Row] = []
    for name, subject in subjects().items():
        for along in subject.along:
            sizes = SIZES[along][kept]
            rows.append(curve(name, subject, along, sizes, options.device, options.min_time))
            print(line(rows[-1]), flush=True)
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
