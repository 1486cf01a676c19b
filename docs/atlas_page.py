"""What the cells come to: the figures of the first page and of choosing, a table of the atlas."""

from collections.abc import Iterable
from math import isfinite, log10
from pathlib import Path

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import decision_figure
import rule_figures
from results import Cells, Row, load, provenance
from tables import number, short, table, unbroken

N = 64
METHODS = {
    "eigh": "Eigh",
    "polar_express": "Polar\nExpress",
    "newton_schulz": "Newton\nSchulz",
    "pade": "Pade",
    "taylor": "Taylor",
}
RULES = {
    "loewner": "Loewner",
    "smith": "Smith",
    "exact_gaps": "ExactGaps",
    "pade_gaps": "PadeGaps",
    "taylor_gaps": "TaylorGaps",
    "power_iteration": "PowerIteration",
    "truncated_gaps": "TruncatedGaps",
    "lorentzian_gaps": "LorentzianGaps",
    "clipped_gaps": "ClippedGaps",
    "lyapunov": "Lyapunov",
    "unrolled": "Unrolled",
    "autograd": "Autograd",
}
# Papers, by the cell that each of them publishes.
LAYERS = {
    ("sqrtm", "eigh", "exact_gaps"): "MPN-COV",
    ("sqrtm", "newton_schulz", "autograd"): "iSQRT-COV",
    ("sqrtm", "taylor", "lyapunov"): "MTP-Lya",
    ("sqrtm", "pade", "lyapunov"): "MPA-Lya",
    ("sqrtm", "eigh", "lyapunov"): "Improved bilinear pooling",
    ("sqrtm", "eigh", "pade_gaps"): "SVD-Padé",
    ("sqrtm", "eigh", "truncated_gaps"): "SVD-Trunc",
    ("sqrtm", "eigh", "unrolled"): "SVD-Newton",
    ("invsqrtm", "eigh", "exact_gaps"): "Decorrelated BN",
    ("invsqrtm", "newton_schulz", "autograd"): "IterNorm",
    ("invsqrtm", "taylor", "lyapunov"): "MTP-Lya",
    ("invsqrtm", "pade", "lyapunov"): "MPA-Lya",
    ("invsqrtm", "eigh", "power_iteration"): "Power iteration",
    ("invsqrtm", "eigh", "taylor_gaps"): "Robust SVD",
    ("invsqrtm", "polar_express", "smith"): "default, GPU",
}
DEFAULT = "Auto on a CPU: Eigh(refine=True), Loewner"
WORST, BEST = 0.0, -5.5  # of the colours, as powers of ten
OUTLINE = "#d55e00"


def write(results: Path, folder: Path) -> None:
    """``measured.md``, ``cells.svg`` and ``decision.svg``, from a run of ``benchmarks/run.py``."""
    folder.mkdir(parents=True, exist_ok=True)
    found = load(results, "matrix_functions", "cpu")
    assert found is not None
    cells = at_one_size(found["rows"])
    text = f"{measured(cells)}\n\n{provenance(found)}\n"
    (folder / "measured.md").write_text(text)
    with rc_context(rule_figures.STYLE | {"savefig.transparent": True}):
        for name, draw in {"cells": grid, "decision": decision_figure.draw}.items():
            draw(cells).savefig(folder / f"{name}.svg", metadata={"Date": None})


def at_one_size(rows: Iterable[Row]) -> Cells:
    """The rows of one size in float32."""
    return {
        (row["function"], row["method"], row["backward"]): row
        for row in rows
        if row["n"] == N and row["dtype"] == "float32"
    }


def measured(cells: Cells) -> str:
    """What a paper's cell comes to, beside the default of the same function."""
    headings = ("Layer", "function", "cell", "value error", "gradient error", "time")
    body = (
        (
            name,
            f"`{function}`",
            f"`{method}`, `{rule}`",
            *(unbroken(row[f"{kind}_error"]) for kind in ("value", "gradient")),
            number(row["time_ms"] / cells[function, "auto", "default"]["time_ms"], ".2f"),
        )
        for (function, method, rule), name in LAYERS.items()
        if (row := cells.get((function, method, rule))) is not None
    )
    return table(headings, body, words=3)


def grid(cells: Cells, function: str = "invsqrtm") -> Figure:
    """Every method with every rule: the error of the gradient as a colour and as a number."""
    figure = Figure(figsize=(7, 8.6), layout="constrained")
    axes = figure.subplots()
    draw_cell(axes, (0, -1), len(METHODS), cells.get((function, "auto", "default")), DEFAULT)
    for x, method in enumerate(METHODS):
        for y, rule in enumerate(RULES):
            cell = (function, method, rule)
            draw_cell(axes, (x, y), 1, cells.get(cell), LAYERS.get(cell))
    axes.set(xlim=(0, len(METHODS)), ylim=(len(RULES), -1))
    axes.set_xticks([x + 0.5 for x in range(len(METHODS))], [*METHODS.values()])
    rules = {-1: "default", **dict(enumerate(RULES.values()))}
    axes.set_yticks([y + 0.5 for y in rules], [*rules.values()])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=11)
    axes.spines[:].set_visible(False)
    return figure


def draw_cell(
    axes: Axes, corner: tuple[int, int], width: int, row: Row | None, name: str | None
) -> None:
    """One cell, outlined if it has a name; nothing where there is no figure."""
    error = row["gradient_error"] if row else None
    if error is None or not isfinite(error):
        return
    x, y = corner
    level = Normalize(BEST, WORST)(min(log10(error), WORST))
    box = (x + 0.03, y + 0.03), width - 0.06, 0.94
    axes.add_patch(Rectangle(*box, color=colormaps["YlGnBu_r"](level)))
    text = {"color": "#10222e" if level > 0.45 else "white", "ha": "center", "va": "center"}
    axes.text(x + width / 2, y + (0.36 if name else 0.5), short(error), fontsize=11, **text)
    if name:
        axes.text(x + width / 2, y + 0.72, name, fontsize=8.5, **text)
        axes.add_patch(Rectangle(*box, fill=False, edgecolor=OUTLINE, linewidth=2))


# The picture of the README: PYTHONPATH=. python docs/atlas_page.py
if __name__ == "__main__":
    docs = Path(__file__).parent
    run = load(docs.parent / "benchmarks" / "results", "matrix_functions", "cpu")
    with rc_context(rule_figures.STYLE | {"savefig.transparent": True}):
        grid(at_one_size(run["rows"])).savefig(docs / "_static" / "cells.png", dpi=110)
