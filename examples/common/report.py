"""Drawings of a run: how it learnt, and what it confuses.

Colours are Okabe and Ito's, which all kinds of colour vision tell apart.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

BLUE, VERMILION, GREEN, PURPLE, AMBER = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, AMBER)

STYLE = {
    "axes.edgecolor": "#666666",
    "axes.labelcolor": "#333333",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titlepad": 10,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
    "font.size": 9.5,
    "legend.frameon": False,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
}

Curve = tuple[np.ndarray, np.ndarray]
"""Epochs and the values measured at their ends."""

MOST_NAMES = 20
"""With more classes than this a confusion matrix has neither names nor counts."""


def read_curves(metrics: Path) -> dict[str, Curve]:
    """The curves of a ``metrics.csv``, by column; a column has a value in some rows only."""
    rows = np.atleast_1d(np.genfromtxt(metrics, delimiter=",", names=True))
    measured = {name: ~np.isnan(rows[name]) for name in rows.dtype.names}
    return {name: (rows["epoch"][at] + 1, rows[name][at]) for name, at in measured.items()}


def draw_curve(axes: Axes, runs: Sequence[Curve], label: str, colour: str) -> None:
    """Draw the mean of some runs over the epochs and, lighter, the range that they span."""
    epochs = runs[0][0]
    values = np.stack([values for _, values in runs])
    axes.plot(epochs, values.mean(0), color=colour, label=label, linewidth=1.8)
    axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_confusion(axes: Axes, matrix: np.ndarray, names: Sequence[str]) -> None:
    """Draw a confusion matrix: right in blue, wrong in orange, the darker the more of the class."""
    share = matrix / matrix.sum(1, keepdims=True).clip(1)
    right = np.eye(len(matrix), dtype=bool)
    worst = max(share[~right].max(), 0.1)
    axes.imshow(np.ma.masked_where(~right, share), cmap="Blues", vmin=0, vmax=1.3)
    wrong = np.ma.masked_where(right | (matrix == 0), share)
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=2 * worst)
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set(visible=True, color="#cccccc")
    axes.tick_params(length=0)
    if len(names) > MOST_NAMES:
        axes.set(xticks=[], yticks=[])
        return
    tilt = 45 if max(map(len, names)) > 2 else 0
    place = {"ha": "right", "rotation_mode": "anchor"} if tilt else {}
    axes.set_xticks(range(len(names)), names, rotation=tilt, **place)
    axes.set_yticks(range(len(names)), names)
    for row, column in np.argwhere(matrix):
        colour = "white" if row == column and share[row, column] > 0.5 else "#333333"
        count = int(matrix[row, column])
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8.5)


DPI = 160


def save(figure: Figure, path: Path) -> None:
    """Write a figure, and its folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)


def report(metrics: Path, matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draw a run.

    Args:
        metrics: the ``metrics.csv`` that it logged.
        matrix: its confusion matrix on the test set, a row per true class.
        names: the names of the classes.
        path: where the figure goes.
    """
    curves = read_curves(metrics)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 4), layout="constrained")
        loss, accuracy, confusion = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
        for split, label, colour in (("train", "training", BLUE), ("val", "validation", VERMILION)):
            draw_curve(loss, [curves[f"{split}_loss"]], label, colour)
            draw_curve(accuracy, [curves[f"{split}_accuracy"]], label, colour)
        loss.set(title="Loss", ylim=(0, None))
        accuracy.set(title="Accuracy", ylim=(0, 1.02))
        accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        loss.legend()
        draw_confusion(confusion, matrix, names)
        tested = curves["test_accuracy"][1][-1]
        confusion.set_title(f"Test set: {tested:.1%} of {int(matrix.sum())} right")
        save(figure, path)
