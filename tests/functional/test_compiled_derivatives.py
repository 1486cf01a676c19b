"""Derivatives of ``torch.func`` inside ``torch.compile``: as in eager, or as loud.

    python -m tests.functional.test_compiled_derivatives

prints what they come to if graphs do not end there.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import BACKWARDS
from tests.counted import Counted
from tests.differentiable import (
    CASES,
    Function,
    each_alone,
    forward_over_reverse,
    gradient,
    gradient_of_all,
    reverse_over_reverse,
    tangent,
)

full = partial(pytest.param, marks=pytest.mark.full)
RULES = [
    "taylor_gaps",
    *(full(rule) for rule in BACKWARDS if rule not in ("autograd", "taylor_gaps")),
]
AREA = "differentiation"
# Before, most compiled derivatives of torch.func raise, as the page on support says.
GRAPHS_END = torch.__version__ >= "2.13"
WAYS = (gradient, tangent, each_alone, gradient_of_all, reverse_over_reverse, forward_over_reverse)
# One for each Function of the library, and some of several.
INSIDE = (
    *("sqrtm", "sqrtm, products", "logm", "eigh", "eigh, a surrogate", "solve_lyapunov smith"),
    *("covariance", "cross_covariance", "whiten_color"),
)
EQUAL = torch.diag(torch.tensor([1.0, 1.0, 0.5, 0.2], dtype=torch.float64)).expand(2, 4, 4)


@pytest.mark.promise(
    AREA, "torch.compile of a torch.func derivative: eager, or its UnsupportedError"
)
@pytest.mark.parametrize("name", [name if name == "covariance" else full(name) for name in INSIDE])
def test_inside(name: str, pytestconfig: pytest.Config, counted: Counted) -> None:
    f, x = CASES[name]
    for way in WAYS:
        counted.within(way.__name__, error=off_eager(way, f, x), bound=1e-10, of="1e-10")
    if pytestconfig.getoption("full"):
        counted.beside = left_alone()


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
    except Exception as error:  # older compilers raise an error of their own, which repeats ours
        refused = F.UnsupportedError.__name__ in f"{type(error).__name__}: {error}"
        return 0.0 if refused and (expected is None or not GRAPHS_END) else math.inf
    if expected is None:
        return math.inf
    return float((actual - expected).norm() / expected.norm())


@cache
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


@pytest.mark.promise(
    AREA, "torch.compile of torch.func.grad at equal eigenvalues: the gradient of the rule"
)
@pytest.mark.parametrize(
    "rule",
    [rule if rule == "taylor_gaps" else full(rule) for rule in BACKWARDS if rule != "autograd"],
)
def test_rules_at_ties(rule: str, counted: Counted) -> None:
    """Where the derivative of the steps is not finite."""
    f = partial(F.sqrtm, method="eigh", backward=rule)
    for way in (gradient, gradient_of_all):
        counted.within(way.__name__, error=off_eager(way, f, EQUAL), bound=1e-10, of="1e-10")
    counted.beside = f"autograd: {left_to_autograd()}"


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
