"""Derivatives of ``torch.func`` inside ``torch.compile``: as in eager, or as loud.

    python -m tests.reliability.differentiation.transforms

prints what they come to if graphs do not end there.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import BACKWARDS
from tests.reliability.differentiation.differentiable import (
    CASES,
    Function,
    each_alone,
    forward_over_reverse,
    gradient,
    gradient_of_all,
    reverse_over_reverse,
    tangent,
)
from tests.reliability.rows import Row
from tests.reliability.tally import Tally

# Before, most compiled derivatives of torch.func raise, as the page on support says.
GRAPHS_END = torch.__version__ >= "2.13"
WAYS = (gradient, tangent, each_alone, gradient_of_all, reverse_over_reverse, forward_over_reverse)
# One for each Function of the library, and some of several.
INSIDE = (
    *("sqrtm", "sqrtm, products", "logm", "eigh", "eigh, a surrogate", "solve_lyapunov smith"),
    *("covariance", "cross_covariance", "whiten_color"),
)
EQUAL = torch.diag(torch.tensor([1.0, 1.0, 0.5, 0.2], dtype=torch.float64)).expand(2, 4, 4)


def inside(area: str, quick: bool) -> Row:
    tally = Tally()
    for name in ("covariance",) if quick else INSIDE:
        f, x = CASES[name]
        for way in WAYS:
            tally.add(f"{name}, {way.__name__}", off_eager(way, f, x), 1e-10)
    what = "torch.compile of a torch.func derivative: eager, or its UnsupportedError"
    return tally.row(area, what, "1e-10", beside=left_alone())


def off_eager(way: Callable[[Function, Tensor], Tensor], f: Function, x: Tensor) -> float:
    """The relative error; none where both say that they do not support this."""
    torch._dynamo.reset()
    compiled = torch.compile(partial(way, f), backend="aot_eager")
    try:
        expected = way(f, x)
    except F.UnsupportedError:
        expected = None
    try:
        actual = compiled(x)
    except Exception as error:  # on older versions that of the compiler, which repeats ours
        refused = F.UnsupportedError.__name__ in f"{type(error).__name__}: {error}"
        return 0.0 if refused and (expected is None or not GRAPHS_END) else math.inf
    if expected is None:
        return math.inf
    return float((actual - expected).norm() / expected.norm())


def left_alone() -> str:
    """What PyTorch makes of one Function if it is not told where to end the graph."""
    with graphs_going_on():
        right = [off_eager(way, *CASES["covariance"]) < 1e-10 for way in WAYS]
    return f"a Function left to torch.compile: {sum(right)} of {len(right)}"


@contextmanager
def graphs_going_on() -> Iterator[None]:
    """Whatever transforms them."""
    with patch("covlayers.functional._base.function._compiles_whole", lambda: True):
        yield


def rules(area: str, quick: bool) -> Row:
    """At equal eigenvalues, where the derivative of the steps is not finite."""
    tally = Tally()
    for name in ("taylor_gaps",) if quick else [name for name in BACKWARDS if name != "autograd"]:
        f = partial(F.sqrtm, method="eigh", backward=name)
        for way in (gradient, gradient_of_all):
            tally.add(f"{name}, {way.__name__}", off_eager(way, f, EQUAL), 1e-10)
    what = "torch.compile of torch.func.grad at equal eigenvalues: the gradient of the rule"
    return tally.row(area, what, "1e-10", beside=f"autograd: {left_to_autograd()}")


def left_to_autograd() -> str:
    f = partial(F.sqrtm, method="eigh", backward="autograd")
    return "finite" if gradient(f, EQUAL).isfinite().all() else "not finite"


def came_to(way: Callable[[Function, Tensor], Tensor], f: Function, x: Tensor) -> str:
    """The error of one that is compiled whole, in words where there is none."""
    torch._dynamo.reset()
    try:
        actual = torch.compile(partial(way, f), backend="aot_eager")(x)
    except Exception:  # whatever it is, it is no wrong number
        return "raises"
    try:
        expected = way(f, x)
    except F.UnsupportedError:
        return f"{actual.norm():.0e}, where eager raises"
    return f"{(actual - expected).norm() / expected.norm():.0e}"


def main() -> None:
    at_ties = partial(F.sqrtm, method="eigh", backward="taylor_gaps")
    tried = {
        "TaylorGaps, equal eigenvalues": (at_ties, EQUAL.clone()),
        "PolarExpress, Smith": CASES["sqrtm, products"],
        "covariance": CASES["covariance"],
    }
    with graphs_going_on():
        for way in WAYS:
            print(
                way.__name__,
                *(f"{name}: {came_to(way, *case)}" for name, case in tried.items()),
                sep="; ",
            )


if __name__ == "__main__":
    main()
