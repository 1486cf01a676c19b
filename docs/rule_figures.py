"""Draw the figures of the documentation with the library itself."""

from pathlib import Path

import torch
from matplotlib import rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from covlayers.functional import (
    ClippedGaps,
    Eigh,
    ExactGaps,
    NewtonSchulz,
    Pade,
    PadeGaps,
    PolarExpress,
    PowerIteration,
    Taylor,
    TaylorGaps,
    invsqrtm,
)

# Mid tones that read on a light and on a dark page.
GREY = "#808891"
STYLE = {
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 11,
    "legend.frameon": False,
    "legend.labelcolor": GREY,
    "svg.fonttype": "path",
    "svg.hashsalt": "covlayers",
    "xtick.color": GREY,
    "ytick.color": GREY,
}


def dress(*_: object) -> None:
    """Make it the style of whatever is drawn from here on."""
    rcParams.update(STYLE | {"savefig.transparent": True, "text.color": GREY})


def draw(folder: Path) -> None:
    """Write ``methods.svg`` and ``gaps.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        methods(folder / "methods.svg")
        gaps(folder / "gaps.svg")


def methods(path: Path) -> None:
    """The inverse root of a small eigenvalue, by each method."""
    values = torch.logspace(-6, 0, 241, dtype=torch.float64)
    A = torch.diag_embed(torch.stack([values, torch.ones_like(values)], -1))
    curves = {
        "Eigh()": (Eigh(), "#1f77b4", "-"),
        "PolarExpress()": (PolarExpress(lower=1e-3), "#e377c2", "--"),
        "NewtonSchulz(15)": (NewtonSchulz(15), "#2ca02c", "-"),
        "NewtonSchulz(5)": (NewtonSchulz(5), "#2ca02c", "--"),
        "Pade(5)": (Pade(5), "#ff7f0e", "-"),
        "Taylor(10)": (Taylor(10), "#d62728", "-"),
    }
    axes = panel()
    for name, (method, colour, line) in curves.items():
        Z = invsqrtm(A, method=method)[:, 0, 0]
        axes.semilogx(values, Z * values.sqrt(), line, color=colour, label=name, linewidth=2)
    finish(axes, path, r"eigenvalue $\lambda/\lambda_{\max}$", "fraction of the inverse root")


def gaps(path: Path) -> None:
    """The inverse of a small gap, by each rule."""
    gap = torch.logspace(-5, 0, 201, dtype=torch.float64)[:-1]
    values = torch.stack([1 - gap, torch.ones_like(gap)], -1)
    curves = {
        "ExactGaps()": (ExactGaps(), "#1f77b4", "-"),
        "PadeGaps(50)": (PadeGaps(50), "#e377c2", "--"),
        "TaylorGaps(100)": (TaylorGaps(100), "#d62728", "-"),
        "TaylorGaps(9)": (TaylorGaps(9), "#d62728", "--"),
        "PowerIteration(19)": (PowerIteration(19), "#2ca02c", "-"),
        "ClippedGaps(0.01)": (ClippedGaps(0.01), "#ff7f0e", "-"),
    }
    axes = panel()
    for name, (rule, colour, line) in curves.items():
        K = rule.inverse_gaps(values)[:, 1, 0].abs()
        axes.semilogx(gap, K * gap, line, color=colour, label=name, linewidth=2)
    finish(axes, path, r"relative gap $g$", "fraction of the inverse gap")


def panel() -> Axes:
    """One pair of axes, small enough that its text is legible on a phone."""
    return Figure(figsize=(6, 4.2), layout="constrained").subplots()


def finish(axes: Axes, path: Path, x: str, y: str) -> None:
    """Labels and legend; nothing in the file depends on when it was drawn."""
    axes.set(xlabel=x, ylabel=y, ylim=(0, 1.05))
    axes.grid(color=GREY, alpha=0.25)
    axes.figure.legend(loc="outside lower center", ncols=3)
    axes.figure.savefig(path, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    draw(Path(__file__).parent / "_static" / "generated")
