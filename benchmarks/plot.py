"""Figures from the results of ``run.py``: time against size, and time against error.

    python -m benchmarks.plot [RESULTS] [--output FOLDER]

Registered cells are solid lines and discs, peers dashed lines and open squares. Where the whole
grid was measured, its other cells are the small dots.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from benchmarks.labels import Anchors, beside_line_ends, beside_points

Row = Mapping[str, Any]
FUNCTIONS = ("sqrtm", "invsqrtm")
PARETO_N = 64
ERRORS = {"gradient_error": "gradient error", "value_error": "value error"}
OWN, PEER, FRONT = "#2a87c8", "#d55e00", "#808891"
# Okabe and Ito's colours, which the colour-blind tell apart, for light and dark pages.
COLOURS = ("#2a87c8", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#e69f00", "#a070c0")
DASHES = {"own": "-", "peer": "--"}
STYLE = {
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "svg.hashsalt": "covlayers",
}


def draw(results: Mapping[str, Any], folder: Path, stem: str, suffix: str = "svg") -> list[Path]:
    """Write ``{stem}-time-{function}`` and ``{stem}-error-{function}``; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [r for r in results["rows"] if r["dtype"] == "float32" and r["time_ms"] is not None]
    paths = []
    for function in FUNCTIONS:
        some = [row for row in rows if row["function"] == function]
        at = [row for row in some if row["n"] == PARETO_N]
        figures = {"time": time_against_size(some)} | (
            {"error": time_against_error(at)} if at else {}
        )
        for kind, figure in figures.items():
            paths.append(folder / f"{stem}-{kind}-{function}.{suffix}")
            dateless = {"Date": None} if suffix == "svg" else {}
            figure.savefig(paths[-1], dpi=150, metadata=dateless)
    return paths


def label(row: Row) -> str:
    """The name of a cell, short."""
    alone = row["backward"] in ("default", "built in") or row["method"].startswith("published")
    return row["method"] if alone else f"{row['method']}, {row['backward']}"


def time_against_size(rows: Sequence[Row]) -> Figure:
    """One line a cell: the time of a matrix, forward and backward, against its size."""
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    axes = figure.subplots()
    lines: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["role"], row["method"], row["n"])):
        if row["role"] != "grid":
            lines[label(row)].append(row)
    ends = {}
    colours = {"own": cycle(COLOURS), "peer": cycle(COLOURS)}
    for name, own in lines.items():
        role = own[0]["role"]
        x, y = [r["n"] for r in own], [1e3 * r["time_ms"] / r["batch"] for r in own]
        ends[name] = (x[-1], y[-1], next(colours[role]))
        axes.loglog(x, y, DASHES[role], color=ends[name][2], linewidth=1.6, marker=".")
    sizes = sorted({row["n"] for row in rows})
    axes.set_xticks(sizes, [str(n) for n in sizes])
    axes.minorticks_off()
    axes.set(xlabel="n", ylabel="µs a matrix, forward and backward", title=rows[0]["function"])
    axes.grid(color=FRONT, alpha=0.2)
    beside_line_ends(axes, ends)
    return figure


def time_against_error(rows: Sequence[Row]) -> Figure:
    """The cells of one size as points, and the front of those that nothing beats in both."""
    figure = Figure(figsize=(8, 8.4), layout="constrained")
    head = rows[0]
    figure.suptitle(f"{head['function']}, {head['batch']} matrices of {head['n']} × {head['n']}")
    named = {}
    for axes, (key, name) in zip(figure.subplots(2), ERRORS.items(), strict=True):
        axes.set(xlabel="ms, forward and backward", ylabel=f"relative {name}")
        points = {(row["time_ms"], row[key]): row for row in rows if row[key]}
        named[axes] = pareto(axes, points), points
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes, (names, points) in named.items():
        beside_points(axes, names, points)
    return figure


def pareto(axes: Axes, points: Mapping[tuple[float, float], Row]) -> Anchors:
    """Points and front; the names that belong to them."""
    front = nothing_beats(points)
    axes.set(xscale="log", yscale="log")
    for point, row in points.items():
        if row["role"] == "grid":
            axes.plot(*point, ".", color=FRONT, alpha=0.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    steps = [front[0], *(corner for a, b in pairwise(front) for corner in ((b[0], a[1]), b))]
    axes.plot(*zip(*steps, strict=True), color=FRONT, linewidth=1.2, zorder=1)
    named = {}
    for point, row in points.items():
        peer = row["role"] == "peer"
        if row["role"] != "grid" or point in front:
            named[label(row)] = (*point, PEER if peer else OWN)
            face = {"markerfacecolor": "none"} if peer else {}
            axes.plot(*point, "s" if peer else "o", color=named[label(row)][2], **face)
    axes.margins(x=0.12, y=0.18)
    axes.grid(color=FRONT, alpha=0.2)
    return named


def nothing_beats(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that are faster than all that are as accurate, fastest first."""
    front: list[tuple[float, float]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw as PNG, on white."""
    results = Path(__file__).parent / "results"
    parser = argparse.ArgumentParser("plot.py", description=__doc__.splitlines()[0])
    default = results / "matrix_functions-cpu.json"
    parser.add_argument("results", type=Path, nargs="?", default=default, help="JSON of run.py")
    parser.add_argument("--output", type=Path, metavar="FOLDER", default=results / "figures")
    chosen = parser.parse_args(arguments)
    with rc_context(STYLE):
        for path in draw(
            json.loads(chosen.results.read_text()), chosen.output, chosen.results.stem, "png"
        ):
            print(path)


if __name__ == "__main__":
    main()
