"""Every derivative of every function in every mode: right, or a typed error."""

import math
from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from benchmarks.published import PUBLISHED
from covlayers import functional as F
from tests.counted import Counted
from tests.differentiable import (
    CASES,
    EACH,
    SECOND,
    SURROGATES,
    Function,
    direction,
    forward_over_forward,
    gradient,
)

AREA = "differentiation"
PEERS: dict[str, Function] = {
    f"{method} {function}": run for function, cells in PUBLISHED.items() for method, _, run in cells
}


@pytest.mark.promise(AREA, "reverse, forward and batched: finite differences")
@pytest.mark.parametrize("name", [name for name in CASES if name not in SURROGATES])
def test_first(name: str, full: bool, counted: Counted) -> None:
    counted.case(name, held=right_slope(*CASES[name]))
    if full:
        counted.beside = of_peers(right_slope)


def right_slope(f: Function, x: Tensor) -> bool:
    """Whether the derivative is right in both modes, also for many directions at once."""
    batched = {"check_batched_grad": True, "check_batched_forward_grad": True}
    leaf = x[:2].clone().requires_grad_()
    try:
        return gradcheck(f, leaf, atol=1e-6, rtol=1e-6, check_forward_ad=True, **batched)
    except Exception:  # a wrong derivative, or one that raises
        return False


@pytest.mark.promise(
    AREA, "second derivative in four modes: finite differences, or UnsupportedError"
)
@pytest.mark.parametrize("name", [name for name in CASES if name != "sqrtm, published"])
def test_second(name: str, full: bool, counted: Counted) -> None:
    """But of a damped gradient, which has a damped one of its own."""
    f, x = CASES[name]
    for mode in SECOND:
        counted.within(mode.__name__, error=off_curvature(mode, f, x), bound=1e-6, of="1e-6")
    if full:
        counted.beside = of_peers(second_is_right)


def second_is_right(f: Function, x: Tensor) -> bool:
    return all(off_curvature(mode, f, x) < 1e-6 for mode in SECOND)


def off_curvature(mode: Callable[[Function, Tensor], Tensor], f: Function, x: Tensor) -> float:
    step = 1e-5 * direction(x)
    change = (gradient(f, x + step) - gradient(f, x - step)) / 2e-5
    once_more = mode is forward_over_forward
    expected = (change * direction(x).cos()).sum() if once_more else change
    return error(partial(mode, f, x), expected)


@pytest.mark.promise(AREA, "torch.func.vmap of value, gradient and tangent: one by one")
@pytest.mark.parametrize("name", CASES)
def test_alone_and_together(name: str, full: bool, counted: Counted) -> None:
    f, x = CASES[name]
    for way, one in EACH.items():
        counted.within(way.__name__, error=off_alone(way, one, f, x), bound=1e-9, of="1e-9")
    if full:
        counted.beside = of_peers(alone_is_right)


def alone_is_right(f: Function, x: Tensor) -> bool:
    return all(off_alone(*ways, f, x) < 1e-9 for ways in EACH.items())


Way = Callable[[Function, Tensor], Tensor]


def off_alone(way: Way, one: Way, f: Function, x: Tensor) -> float:
    return error(partial(way, f, x), torch.stack([one(f, each) for each in x]))


def error(actual: Callable[[], Tensor], expected: Tensor) -> float:
    """The relative error in norm; zero where the call says that it does not support this."""
    try:
        return float((actual() - expected).norm() / expected.norm())
    except F.UnsupportedError:
        return 0.0
    except Exception:  # whatever else, it is not what is promised
        return math.inf


@cache
def of_peers(holds: Callable[[Function, Tensor], bool]) -> str:
    """For how many of the published roots it holds, as a phrase."""

    def held(f: Function) -> bool:
        try:
            return holds(f, CASES["sqrtm"][1])
        except Exception:  # whatever a peer raises, it does not hold
            return False

    return f"as published: {sum(map(held, PEERS.values()))} of {len(PEERS)} roots"
