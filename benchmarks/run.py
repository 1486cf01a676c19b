"""Time, memory and error of every registered method and backward rule, and of their peers.

    python -m benchmarks.run [--quick] [--device cpu|cuda|auto] [--dtypes T ...] [--output FILE]

The table goes to standard output, the figures to ``benchmarks/results/``. Speed is to be read
within one run: ``relative`` is the time over the time of ``eigh x loewner`` in the same group.

The grid of methods and rules is measured at two sizes in float32; elsewhere, and if quick, every
method with its default rule, the exact cells, and the peers.
"""

import math
from argparse import Namespace
from collections.abc import Sequence
from itertools import product

import torch

from benchmarks.cells import EXPONENTS, peers, registered_cells
from benchmarks.measure import Problem, Row, measure
from benchmarks.record import begin, command_line, finish, parse, positive

# Comparable work, where that leaves a matrix.
BATCHES = {4: 1024, 8: 512, 16: 256, 32: 128, 64: 64, 128: 32, 256: 8, 512: 2, 1024: 1}
QUICK = (16, 64)
GRID = (16, 64)
DTYPES = ("float32", "float64")
BASELINE = ("eigh", "loewner")
CONDITION = 1e4
SEED = 0
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


def measure_group(problem: Problem, *, grid: bool, min_time: float) -> list[Row]:
    """One row a cell on the same matrices, fastest first, with times relative to the baseline."""
    cells = (*registered_cells(problem.function, grid=grid), *peers(problem.function))
    rows = measure(cells, problem, min_time)
    (baseline,) = (r["time_ms"] for r in rows if (r["method"], r["backward"]) == BASELINE)
    for row in rows:
        if row["time_ms"] is not None and baseline is not None:
            row["relative"] = row["time_ms"] / baseline
    return sorted(rows, key=lambda row: math.inf if row["time_ms"] is None else row["time_ms"])


def table(rows: Sequence[Row]) -> str:
    """One group as aligned text; a dash where there is no figure, what went wrong at the end."""
    title = "{function}, {batch} of {n} x {n}, {dtype}".format(**rows[0])
    lines = [f"{title:38}" + "".join(f"{heading:>15}" for heading, *_ in COLUMNS)]
    for row in rows:
        name = f"{row['method']} x {row['backward']}"
        figures = ("-" if row[k] is None else format(row[k] / u, spec) for _, k, spec, u in COLUMNS)
        note = "" if row["status"] == "ok" else f"  {row['status']}"
        lines.append(f"{name:38}" + "".join(f"{figure:>15}" for figure in figures) + note)
    return "\n".join(lines)


def command(arguments: Sequence[str] | None) -> Namespace:
    """The options, completed."""
    parser = command_line("matrix_functions", "run.py", __doc__, (0.1, 0.02))
    size, add = positive(int), parser.add_argument
    add("--sizes", type=size, nargs="+", metavar="N", help=f"default: {(*BATCHES,)}")
    add("--batch", type=size, metavar="B", help=f"matrices of every size; default: {BATCHES}")
    add("--dtypes", choices=DTYPES, nargs="+", help="default: both, or the first if quick")
    options = parse(parser, arguments)
    options.sizes = options.sizes or (QUICK if options.quick else tuple(BATCHES))
    options.dtypes = options.dtypes or (DTYPES[:1] if options.quick else DTYPES)
    if unknown := [n for n in options.sizes if options.batch is None and n not in BATCHES]:
        parser.error(f"argument --sizes: give --batch too, {unknown} having no default")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print group by group, write."""
    options = command(arguments)
    metadata = begin(
        options,
        dtype=" ".join(options.dtypes),
        condition_number=CONDITION,
        spectrum="log-spaced, largest eigenvalue 1",
        seed=SEED,
        baseline=" x ".join(BASELINE),
    )
    rows: list[Row] = []
    for dtype, function, n in product(options.dtypes, EXPONENTS, options.sizes):
        problem = Problem.random(
            function,
            n,
            options.batch or BATCHES[n],
            condition=CONDITION,
            seed=SEED,
            device=options.device,
            dtype=getattr(torch, dtype),
        )
        grid = n in GRID and dtype == DTYPES[0] and not options.quick
        group = measure_group(problem, grid=grid, min_time=options.min_time)
        print(f"\n{table(group)}", flush=True)
        rows += group
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
