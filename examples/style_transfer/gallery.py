"""Draw what style transfer in closed form looks like, and what its options change.

Three figures of photographs that come with scikit-image and scikit-learn: strengths, groups, and
methods for the matrix roots.
"""

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from colours import Pixels, distance, recolour
from common.report import STYLE
from covlayers import WhiteningColoring
from photos import PHOTOS
from pictures import from_bytes, to_array
from stylise import StyleTransfer, shrink

CONTENTS = ("china", "cat", "coffee")
STYLES = ("flower", "tissue", "gravel")
STRENGTHS = (0.5, 1.0)
GROUPS = {1: "1 group", 8: "8 groups", 24: "24 groups: AdaIN"}
METHODS = {"auto": "exact", "pade": "Padé, degree 5"}
PAIRS = (("china", "flower"), ("cat", "flower"))
"""Contents and styles that groups are shown with."""

NARROW = (("china", "flower"), ("retina", "tissue"))
"""Pairs that methods are shown with: the content has few colours, so its covariance is
ill-conditioned."""

LONGEST = 400
"""Side of a picture in pixels; a figure of large ones is a large file."""

CELL = 2.0
"""Width of a picture in a figure, in inches."""

GAIN = 4
"""By how much differences are enlarged, about grey."""

FILE = {"dpi": 150, "bbox_inches": "tight", "pad_inches": 0.08, "pil_kwargs": {"quality": 84}}


def photo(name: str) -> Tensor:
    """A photograph by its name, its middle in the shape 3 : 2."""
    x = from_bytes(PHOTOS[name]())
    height, width = x.shape[1:]
    rows, columns = min(height, width * 2 // 3), min(width, height * 3 // 2)
    top, left = (height - rows) // 2, (width - columns) // 2
    return shrink(x[:, top : top + rows, left : left + columns], LONGEST)


def show(axes: Axes, picture: Tensor, title: str = "", row: str = "") -> None:
    """Draw a picture without a frame, with a title above and a name of its row."""
    axes.imshow(to_array(picture), interpolation="lanczos")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="center", fontsize=9.5, pad=4)
    axes.set_ylabel(row, fontsize=9.5)


def sheet(rows: int, columns: int, heading: float = 0.0) -> Figure:
    """A figure for pictures in the shape 3 : 2, with room for titles."""
    height = rows * CELL * 2 / 3 + heading
    figure = Figure(figsize=(columns * CELL, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.05, wspace=0, hspace=0)
    return figure


def draw_strengths(path: Path) -> None:
    """Contents in rows; styles in pairs of columns, half and whole."""
    figure = sheet(len(CONTENTS) + 1, 1 + len(STYLES) * len(STRENGTHS), 0.25)
    grid = figure.add_gridspec(len(CONTENTS) + 1, 1 + len(STYLES) * len(STRENGTHS))
    for column, style in enumerate(STYLES):
        start = 1 + column * len(STRENGTHS)
        above = figure.add_subplot(grid[0, start : start + len(STRENGTHS)])
        show(above, photo(style), style)
    for row, content in enumerate(CONTENTS, start=1):
        first = row == 1
        cells = iter(figure.add_subplot(grid[row, column]) for column in range(grid.ncols))
        show(next(cells), photo(content), "α = 0" if first else "", content)
        for style in STYLES:
            for alpha in STRENGTHS:
                stylised = StyleTransfer(alpha)(photo(content), photo(style)).picture
                show(next(cells), stylised, f"α = {alpha:g}" if first else "")
    figure.savefig(path, **FILE)


def draw_groups(path: Path) -> None:
    """Pairs in rows; numbers of groups in columns."""
    figure = sheet(len(PAIRS), 2 + len(GROUPS), 0.8)
    panels = figure.subplots(len(PAIRS), 2 + len(GROUPS), squeeze=False)
    for row, (content, style) in zip(panels, PAIRS, strict=True):
        show(row[0], photo(content), "content")
        show(row[1], photo(style), "style")
        for axes, (groups, label) in zip(row[2:], GROUPS.items(), strict=True):
            stylised = StyleTransfer(groups=groups)(photo(content), photo(style))
            show(axes, stylised.picture, f"{label}\ncovariance {stylised.distance:.1%} off")
    figure.savefig(path, **FILE)


def draw_methods(path: Path) -> None:
    """Pairs in rows; colours by one whitening-coloring of the pixels, exact and approximate."""
    figure = sheet(len(NARROW), 3 + len(METHODS), 0.8)
    panels = figure.subplots(len(NARROW), 3 + len(METHODS), squeeze=False)
    for row, (content, style) in zip(panels, NARROW, strict=True):
        x, s = Pixels(photo(content)[None]), Pixels(photo(style)[None])
        show(row[0], x.values[0], "content")
        show(row[1], s.values[0], "style")
        coloured = []
        for axes, (method, label) in zip(row[2:], METHODS.items(), strict=False):
            y = recolour(x, s, WhiteningColoring(eps=1e-6, method=method))
            coloured.append(y[0].clamp(0, 1))
            show(axes, y[0], f"{label}\ncovariance {distance(Pixels(y), s):.1%} off")
        difference = 0.5 + GAIN * (coloured[1] - coloured[0])
        show(row[-1], difference, f"difference × {GAIN}")
    figure.savefig(path, **FILE)


FIGURES = {"alpha": draw_strengths, "groups": draw_groups, "methods": draw_methods}


def main(arguments: list[str] | None = None) -> None:
    """Write the figures, a JPEG file each."""
    line = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    line.add_argument("--output", type=Path, default=Path(), help="folder, made if need be")
    output = line.parse_args(arguments).output
    output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    with matplotlib.rc_context(STYLE):
        for name, draw in FIGURES.items():
            path = output / f"style_transfer_{name}.jpg"
            draw(path)
            print(f"{path}, {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
