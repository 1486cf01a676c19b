"""Derivatives of compiled functions, and compiled derivatives: as in eager, or as loud."""

import math
import os
import runpy
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from built import MODULES, gradients, sample, unlike_at_first
from properties import relative_error, spd
from rows import Row, row
from tally import Tally
from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from differentiation.differentiable import (
    CASES,
    Function,
    each_alone,
    flat,
    forward_over_reverse,
    gradient,
    gradient_of_all,
    reverse_over_reverse,
    tangent,
)

OPERATORS = runpy.run_path(str(Path(__file__).parents[2] / "kernels" / "test_operators.py"))
# Before, most compiled derivatives of torch.func raise, as the page on support says.
GRAPHS_END = torch.__version__ >= "2.13"
WAYS = (gradient, tangent, each_alone, gradient_of_all, reverse_over_reverse, forward_over_reverse)
# One for each Function of the library, and some of several.
INSIDE = (
    *("sqrtm", "sqrtm, products", "logm", "eigh", "eigh, a surrogate", "solve_lyapunov smith"),
    *("covariance", "cross_covariance", "whiten_color"),
)
EQUAL = torch.diag(torch.tensor([1.0, 1.0, 0.5, 0.2], dtype=torch.float64)).expand(2, 4, 4)
BY_INDUCTOR = ("eigh", "covariance", "sqrtm, published", "sqrtm, products", "solve_lyapunov smith")
MODULES_BY_INDUCTOR = ("DecorrelatedBatchNorm zca", "CovPool", "CrossCovPool", "WhiteningColoring")
BATCHES = ((), (0,), (3,), (2, 2))
"""Of matrices for the operators."""


def compiled_rows(area: str, quick: bool) -> Iterator[Row]:
    yield inside(area, quick)
    yield rules(area, quick)
    yield other_batches(area, quick)
    if not quick and shutil.which(os.environ.get("CXX", "g++")):
        yield generated(area)
    yield operators(area)


def inside(area: str, quick: bool) -> Row:
    tally = Tally()
    for name in ("covariance",) if quick else INSIDE:
        f, x = CASES[name]
        for way in WAYS:
            tally.add(f"{name}, {way.__name__}", off_eager(way, f, x), 1e-10)
    what = "torch.compile of a torch.func derivative: eager, or its UnsupportedError"
    return tally.row(area, what, "1e-10", beside=unguarded(*CASES["covariance"]))


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


def unguarded(f: Function, x: Tensor) -> str:
    """What PyTorch makes of the same Function if it is not told where to end the graph."""
    with patch("covlayers.functional.covariance.compiles_whole", torch.compiler.is_compiling):
        right = [off_eager(way, f, x) < 1e-10 for way in WAYS]
    return f"a Function left to torch.compile: {sum(right)} of {len(right)}"


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


def other_batches(area: str, quick: bool) -> Row:
    outcomes = {}
    for method in ("eigh",) if quick else METHODS:
        torch._dynamo.reset()
        f = partial(F.sqrtm_and_invsqrtm, method=method)
        compiled = torch.compile(f, backend="aot_eager", fullgraph=True, dynamic=True)
        with_gradient(compiled, spd(3, n=4))
        with torch.compiler.set_stance("fail_on_recompile"):
            same = zip(*(with_gradient(g, spd(7, n=4)) for g in (compiled, f)), strict=True)
            outcomes[method] = all(relative_error(a, b) < 1e-10 for a, b in same)
    return row(area, "another batch in the graph compiled once: eager", outcomes)


def with_gradient(f: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = flat(f)(leaf)
    return y.detach()[:, None], torch.autograd.grad(y.square().sum(), leaf)[0]


def generated(area: str) -> Row:
    """Through the default backend, which writes C++."""
    tally = Tally()
    for name in BY_INDUCTOR:
        torch._dynamo.reset()
        f, x = CASES[name]
        compiled = torch.compile(f, fullgraph=True)
        same = zip(with_gradient(compiled, x), with_gradient(f, x), strict=True)
        tally.add(name, max(relative_error(a, b) for a, b in same), 1e-10)
    for name in MODULES_BY_INDUCTOR:
        torch._dynamo.reset()
        module, x = unlike_at_first(MODULES[name]().double()), sample(name).double()
        compiled = torch.compile(deepcopy(module), fullgraph=True)
        tally.add(name, off_gradients(compiled, module, x), 1e-10)
    what = "compiled by Inductor, value and gradient: eager"
    return tally.row(area, what, "1e-10")


def off_gradients(compiled: nn.Module, module: nn.Module, x: Tensor) -> float:
    same = zip(gradients(compiled, x), gradients(module, x), strict=True)
    return max(float((a - b).norm() / b.norm()) for a, b in same)


def operators(area: str) -> Row:
    outcomes = {}
    for name, operator in OPERATORS["OPERATORS"].items():
        for batch in BATCHES:
            A = spd(*batch).float()
            for laid_out, view in (("", A), (", transposed", A.mT)):
                found = torch.library.opcheck(
                    operator, OPERATORS["arguments"](name, view), raise_exception=False
                )
                outcomes[f"{name} {batch}{laid_out}"] = set(found.values()) == {"SUCCESS"}
    return row(area, "operators of the kernels: torch.library.opcheck", outcomes)
