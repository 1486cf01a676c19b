"""Every derivative in every mode: right, or a typed error, and never silently wrong."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.autograd import gradcheck

from benchmarks.published import PUBLISHED
from covlayers import functional as F
from tests.built import MODULES
from tests.reliability.differentiation.compiled import compiled_rows
from tests.reliability.differentiation.differentiable import (
    CASES,
    EACH,
    SECOND,
    SURROGATES,
    Function,
    direction,
    forward_over_forward,
    gradient,
)
from tests.reliability.differentiation.marked_tests import by_property, running
from tests.reliability.differentiation.modules import module_rows
from tests.reliability.rows import Row, row
from tests.reliability.tally import Tally

AREA = "differentiation"
MARKED = (
    *("gradcheck", "second derivative", "forward mode", "vmap", "batched gradient"),
    *("compile", "dynamic shapes"),
)
QUICK = ("sqrtm", "eigh", "covariance", "whiten_color")
QUICK_MODULES = ("DecorrelatedBatchNorm zca", "CovPool", "SecondOrderHead late", "AdaIN")
PEERS: dict[str, Function] = {
    f"{method} {function}": run for function, cells in PUBLISHED.items() for method, _, run in cells
}


def rows(quick: bool) -> Iterator[Row]:
    if quick:
        yield from tried_here({name: CASES[name] for name in QUICK}, QUICK_MODULES, quick)
        return
    with running(MARKED) as found:
        yield from tried_here(CASES, tuple(MODULES), quick)
        for what, kind, tests in by_property(found()):
            outcomes = {name: bool(one["passed"]) for name, one in tests.items()}
            raising = sum(bool(one.get("raises")) for one in tests.values())
            said = f"{raising} of them raise" if raising else "–"
            yield row(AREA, f"{what}: tests of {kind}", outcomes, worst=said)


Cases = Mapping[str, tuple[Function, Tensor]]


def tried_here(cases: Cases, modules: tuple[str, ...], quick: bool) -> Iterator[Row]:
    yield first_derivatives(cases)
    yield second_derivatives(cases)
    yield alone_and_together(cases)
    yield from module_rows(AREA, modules)
    yield from compiled_rows(AREA, quick)


def first_derivatives(cases: Cases) -> Row:
    tried = {name: case for name, case in cases.items() if name not in SURROGATES}
    outcomes = {name: right_slope(f, x) for name, (f, x) in tried.items()}
    what = "reverse, forward and batched: finite differences"
    return row(AREA, what, outcomes, beside=of_peers(right_slope))


def right_slope(f: Function, x: Tensor) -> bool:
    """In both modes, and in both for many directions at once."""
    batched = {"check_batched_grad": True, "check_batched_forward_grad": True}
    leaf = x[:2].clone().requires_grad_()
    try:
        return gradcheck(f, leaf, atol=1e-6, rtol=1e-6, check_forward_ad=True, **batched)
    except Exception:  # a wrong derivative, or one that raises
        return False


def second_derivatives(cases: Cases) -> Row:
    tally = Tally()
    for name, (f, x) in cases.items():
        if name != "sqrtm, published":  # a damped gradient, with a damped one of its own
            for mode in SECOND:
                tally.add(f"{name}, {mode.__name__}", off_curvature(mode, f, x), 1e-6)
    peers = of_peers(lambda f, x: all(off_curvature(mode, f, x) < 1e-6 for mode in SECOND))
    what = "second derivative in four modes: finite differences, or UnsupportedError"
    return tally.row(AREA, what, "1e-6", beside=peers)


def off_curvature(mode: Callable[[Function, Tensor], Tensor], f: Function, x: Tensor) -> float:
    step = 1e-5 * direction(x)
    change = (gradient(f, x + step) - gradient(f, x - step)) / 2e-5
    once_more = mode is forward_over_forward
    expected = (change * direction(x).cos()).sum() if once_more else change
    return error(partial(mode, f, x), expected)


def alone_and_together(cases: Cases) -> Row:
    tally = Tally()
    for name, (f, x) in cases.items():
        for way, one in EACH.items():
            tally.add(f"{name}, {way.__name__}", off_alone(way, one, f, x), 1e-9)
    peers = of_peers(lambda f, x: all(off_alone(*ways, f, x) < 1e-9 for ways in EACH.items()))
    what = "torch.func.vmap of value, gradient and tangent: one by one"
    return tally.row(AREA, what, "1e-9", beside=peers)


Way = Callable[[Function, Tensor], Tensor]


def off_alone(way: Way, one: Way, f: Function, x: Tensor) -> float:
    return error(partial(way, f, x), torch.stack([one(f, each) for each in x]))


def error(actual: Callable[[], Tensor], expected: Tensor) -> float:
    """In norm, relative; none of one that says that it does not support this."""
    try:
        return float((actual() - expected).norm() / expected.norm())
    except F.UnsupportedError:
        return 0.0
    except Exception:  # whatever else, it is not what is promised
        return math.inf


def of_peers(holds: Callable[[Function, Tensor], bool]) -> str:
    """For how many of the roots as published."""

    def held(f: Function) -> bool:
        try:
            return holds(f, CASES["sqrtm"][1])
        except Exception:  # whatever a peer raises, it does not hold
            return False

    return f"as published: {sum(map(held, PEERS.values()))} of {len(PEERS)} roots"
