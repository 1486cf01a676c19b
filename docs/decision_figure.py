"""The figure of the page on choosing: questions in their order, answers with what was measured."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results import Cells
from rule_figures import GREY
from tables import short

Numbers = Callable[[Cells], str]
QUESTION, ANSWER = "#2a87c8", "#009e73"


@dataclass(frozen=True)
class Step:
    """A question, what to take if so, and what that came to."""

    question: str
    answer: str
    result: Numbers


def errors(function: str, method: str, rule: str) -> Numbers:
    """Value error, gradient error, and the time relative to the default of the function."""

    def text(cells: Cells) -> str:
        row, default = cells[function, method, rule], cells[function, "auto", "default"]
        value, gradient = short(row["value_error"]), short(row["gradient_error"])
        time = row["time_ms"] / default["time_ms"]
        return f"{function}: value {value}, gradient {gradient}, time {time:.1f}"

    return text


def words(text: str) -> Numbers:
    """Where there is nothing to measure."""
    return lambda _: text


STEPS = (
    Step(
        "The eigenvectors themselves?",
        'eigh(A, backward="taylor_gaps")',
        words("bounded where eigenvalues meet"),
    ),
    Step(
        "A paper, as it was published?",
        "its row of the atlas, e.g. MPA-Lya",
        errors("invsqrtm", "pade", "lyapunov"),
    ),
    Step(
        "A logarithm, a power, a projector?",
        "Eigh() and Loewner()",
        words("exact, equal eigenvalues included"),
    ),
    Step(
        "A GPU, or a CUDA graph?",
        "PolarExpress() and Smith()",
        errors("invsqrtm", "polar_express", "smith"),
    ),
    Step(
        "The inverse root in float32?",
        "Eigh(refine=True) and Loewner()",
        errors("invsqrtm", "auto", "default"),
    ),
    Step(
        "Otherwise",
        "Eigh() and Loewner()",
        errors("sqrtm", "eigh", "loewner"),
    ),
)


def draw(cells: Cells) -> Figure:
    """Each question in a frame, its answer below, narrow enough for a phone."""
    figure = Figure(figsize=(5, 9), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(-len(STEPS), 0.1))
    axes.axis("off")
    for i, step in enumerate(STEPS):
        top = -i - 0.12
        last = i + 1 == len(STEPS)
        frame = {"boxstyle": "round,pad=0.4", "facecolor": "none", "edgecolor": QUESTION}
        axes.text(0.3, top, step.question, color=QUESTION, va="center", fontsize=12, bbox=frame)
        axes.text(3.0, top - 0.36, step.answer, color=ANSWER, va="center", fontsize=12)
        axes.text(3.0, top - 0.58, step.result(cells), color=GREY, va="center", fontsize=10.5)
        arrow(axes, [(1.9, top - 0.15), (1.9, top - 0.36), (2.8, top - 0.36)], not last and "yes")
        if not last:
            arrow(axes, [(0.7, top - 0.15), (0.7, top - 0.84)], "no")
    return figure


def arrow(axes: Axes, corners: list[tuple[float, float]], text: str | bool) -> None:
    """From a question to what follows, by way of these corners."""
    axes.plot(*zip(*corners, strict=True), color=GREY, linewidth=1)
    style = {"arrowstyle": "-|>", "color": GREY, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", corners[-1], corners[-2], arrowprops=style)
    if text:
        x, y = corners[-1] if len(corners) > 2 else corners[0]
        axes.text(x - 0.55, y - 0.2, text, color=GREY, ha="center", fontsize=10.5)
