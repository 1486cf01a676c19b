"""Names beside what they name, none on top of another."""

from collections.abc import Iterable, Mapping
from itertools import product

from matplotlib.axes import Axes
from matplotlib.text import Text
from matplotlib.transforms import Bbox

Anchors = Mapping[str, tuple[float, float, str]]
"""The point and its colour for each name."""

SIZE = 8  # of the text; this and all below in points
LINE = 11
NEAR = 6
DISTANCES = (5, 12, 22, 36, 52, 70)
DIRECTIONS = ((0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0))


def beside_line_ends(axes: Axes, ends: Anchors) -> None:
    """A column of names to the right of the axes, in the order of the ends of their lines."""
    axes.figure.draw_without_rendering()
    scale = 72 / axes.figure.dpi
    bottom = axes.bbox.y0 * scale
    places = {
        name: axes.transData.transform((x, y))[1] * scale - bottom
        for name, (x, y, _) in ends.items()
    }
    height = axes.bbox.height * scale
    for name, at in spread(places, LINE, height).items():
        x, y, colour = ends[name]
        axes.annotate(
            name,
            (x, y),
            (1.04, at / height),
            textcoords="axes fraction",
            fontsize=SIZE,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.5,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 3,
            },
        )


def spread(places: Mapping[str, float], gap: float, top: float) -> dict[str, float]:
    """The places moved as little apart as to leave ``gap`` between neighbours, up to ``top``."""
    names = sorted(places, key=lambda name: places[name])
    moved: dict[str, float] = {}
    below = -gap
    for name in names:
        below = moved[name] = max(places[name], below + gap)
    above = top + gap
    for name in reversed(names):
        above = moved[name] = min(moved[name], above - gap)
    return moved


def beside_points(axes: Axes, anchors: Anchors, every: Iterable[tuple[float, float]]) -> None:
    """Each name where it covers the fewest of all points and names, and is near its own.

    The layout of the figure has to be final.
    """
    pixels = axes.figure.dpi / 72
    near = NEAR * pixels
    taken = [
        Bbox.from_bounds(x - near / 2, y - near / 2, near, near)
        for x, y in axes.transData.transform([*every])
    ]
    for name, (x, y, colour) in anchors.items():
        text = axes.annotate(
            name,
            (x, y),
            (0, 0),
            textcoords="offset points",
            fontsize=SIZE,
            color=colour,
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.4, "alpha": 0.6},
        )
        extent = Text.get_window_extent(text)
        corner = axes.transData.transform((x, y)) - [extent.width / 2, extent.height / 2]
        size = Bbox.from_bounds(*corner, extent.width, extent.height)
        offsets = [
            (across * (size.width / 2 + distance), up * (size.height / 2 + distance))
            for distance, (across, up) in product(DISTANCES, DIRECTIONS)
        ]
        boxes = [size.translated(*offset) for offset in offsets]
        inside = [axes.bbox.count_contains(box.corners()) == 4 for box in boxes]
        hidden = [
            box.count_overlaps(taken) + 99 * (not i) for box, i in zip(boxes, inside, strict=True)
        ]
        best = hidden.index(min(hidden))
        taken.append(boxes[best])
        text.set_position([shift / pixels for shift in offsets[best]])
