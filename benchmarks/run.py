"""Time, memory and error of every registered method and backward rule, and of what torch has.

    python benchmarks/run.py [--quick] [--device cpu|cuda|auto] [--output FILE]

The table goes to standard output, the figures to ``benchmarks/results/``. Speed is to be read
within one run: ``relative`` is the time over that of ``eigh x loewner`` in the same group. Where
other programs share the cores, set ``OMP_WAIT_POLICY=passive``, or threads that wait spin.
"""

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from measure import Problem, Row, measure, peers, registered_cells
from record import SURROUNDINGS, surroundings, write

FUNCTIONS = ("sqrtm", "invsqrtm")
BATCHES = {16: 256, 64: 64, 128: 32, 256: 8}  # comparable work
QUICK = (16, 64)
BASELINE = ("eigh", "loewner")
CONDITION = 1e4
SEED = 0
SCHEMA = {
    "metadata": f"{SURROUNDINGS} condition_number spectrum seed min_time_s baseline",
    "rows": """
        function n batch method backward status time_ms time_iqr_ms forward_ms forward_iqr_ms
        relative value_error gradient_error saved_bytes peak_bytes
    """,
}
# The columns of the table: heading, key, format, unit.
COLUMNS = (
    ("fwd+bwd ms", "time_ms", ".2f", 1),
    ("IQR", "time_iqr_ms", ".2f", 1),
    ("forward ms", "forward_ms", ".2f", 1),
    ("IQR", "forward_iqr_ms", ".2f", 1),
    ("relative", "relative", ".2f", 1),
    ("value error", "value_error", ".0e", 1),
    ("gradient error", "gradient_error", ".0e", 1),
    ("saved MiB", "saved_bytes", ".1f", 2**20),
    ("peak MiB", "peak_bytes", ".1f", 2**20),
)


def measure_group(function: str, n: int, batch: int, device: str, min_time: float) -> list[Row]:
    """One row a cell on the same matrices, fastest first, with times relative to the baseline."""
    problem = Problem.random(function, n, batch, condition=CONDITION, seed=SEED, device=device)
    cells = (*registered_cells(function), *peers(function))
    rows = measure(cells, problem, min_time)
    (baseline,) = (r["time_ms"] for r in rows if (r["method"], r["backward"]) == BASELINE)
    for row in rows:
        if row["time_ms"] is not None and baseline is not None:
            row["relative"] = row["time_ms"] / baseline
    return sorted(rows, key=lambda row: math.inf if row["time_ms"] is None else row["time_ms"])


def metadata(arguments: Sequence[str], device: str, min_time: float) -> dict[str, Any]:
    """Where, when and how the figures came about."""
    return surroundings("run.py", arguments, device) | {
        "condition_number": CONDITION,
        "spectrum": "log-spaced, largest eigenvalue 1",
        "seed": SEED,
        "min_time_s": min_time,
        "baseline": " x ".join(BASELINE),
    }


def table(rows: Sequence[Row]) -> str:
    """One group as aligned text; a dash where there is no figure, what went wrong at the end."""
    title = "{function}, {batch} matrices of {n} x {n}".format(**rows[0])
    lines = [f"{title:38}" + "".join(f"{heading:>12}" for heading, *_ in COLUMNS)]
    for row in rows:
        name = f"{row['method']} x {row['backward']}"
        figures = ("-" if row[k] is None else format(row[k] / u, spec) for _, k, spec, u in COLUMNS)
        note = "" if row["status"] == "ok" else f"  {row['status']}"
        lines.append(f"{name:38}" + "".join(f"{figure:>12}" for figure in figures) + note)
    return "\n".join(lines)


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """An option that must be a positive, finite number."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
        return value

    return parse


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line, checked and completed before anything is measured."""
    parser = argparse.ArgumentParser("run.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help=f"sizes {QUICK} and shorter timing")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    add("--output", type=Path, metavar="FILE", help="the JSON; default: by device, in results/")
    size, seconds = positive(int), positive(float)
    add("--sizes", type=size, nargs="+", metavar="N", help=f"default: {tuple(BATCHES)}")
    add("--batch", type=size, metavar="B", help=f"matrices of every size; default: {BATCHES}")
    add("--min-time", type=seconds, metavar="S", help="seconds per timing; 0.1, or 0.02 if quick")
    chosen = parser.parse_args(arguments)
    available = torch.cuda.is_available()
    if chosen.device == "auto":
        chosen.device = "cuda" if available else "cpu"
    if chosen.device == "cuda" and not available:
        parser.error("argument --device: this PyTorch sees no CUDA device; use cpu or auto")
    chosen.sizes = chosen.sizes or (QUICK if chosen.quick else tuple(BATCHES))
    if unknown := [n for n in chosen.sizes if chosen.batch is None and n not in BATCHES]:
        parser.error(f"argument --sizes: give --batch too, {unknown} having no default")
    chosen.min_time = chosen.min_time or (0.02 if chosen.quick else 0.1)
    name = f"matrix_functions-{chosen.device}{'-quick' if chosen.quick else ''}.json"
    chosen.output = chosen.output or Path(__file__).parent / "results" / name
    if chosen.output.is_dir():
        parser.error(f"argument --output: {chosen.output} is a directory, expected a file")
    return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print group by group, write."""
    arguments = sys.argv[1:] if arguments is None else arguments
    chosen = options(arguments)
    about = metadata(arguments, chosen.device, chosen.min_time)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    rows: list[Row] = []
    for function, n in product(FUNCTIONS, chosen.sizes):
        batch = chosen.batch or BATCHES[n]
        group = measure_group(function, n, batch, chosen.device, chosen.min_time)
        print(f"\n{table(group)}", flush=True)
        rows += group
    write({"metadata": about, "rows": rows}, SCHEMA, chosen.output)
    print(f"\nwritten to {chosen.output}")


if __name__ == "__main__":
    main()
