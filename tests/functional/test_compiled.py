"""Compiled functions: another batch in the same graph, and the code that Inductor writes."""

import os
import shutil
from functools import partial
from inspect import isroutine

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import METHODS
from tests.counted import Counted
from tests.differentiable import CASES, Function, flat
from tests.properties import relative_error, spd

AREA = "differentiation"
full = partial(pytest.param, marks=pytest.mark.full)
COMPILER = shutil.which(os.environ.get("CXX", "g++"))


@pytest.mark.promise(AREA, "another batch in the graph compiled once: eager")
@pytest.mark.parametrize("method", ["eigh", *(full(name) for name in METHODS if name != "eigh")])
def test_another_batch(method: str) -> None:
    torch._dynamo.reset()
    f = partial(F.sqrtm_and_invsqrtm, method=method)
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True, dynamic=True)
    with_gradient(compiled, spd(3, n=4))
    with torch.compiler.set_stance("fail_on_recompile"):
        for a, b in zip(*(with_gradient(g, spd(7, n=4)) for g in (compiled, f)), strict=True):
            assert relative_error(a, b) < 1e-10


def test_every_function_is_compiled_by_itself() -> None:
    """After eight compilations of one code object torch.compile gives up."""
    codes = [f.__code__ for f in (getattr(F, name) for name in F.__all__) if isroutine(f)]
    assert len({id(code) for code in codes}) == len(codes) > 8


def with_gradient(f: Function, x: Tensor) -> tuple[Tensor, Tensor]:
    leaf = x.clone().requires_grad_()
    y = flat(f)(leaf)
    return y.detach()[:, None], torch.autograd.grad(y.square().sum(), leaf)[0]


@pytest.mark.promise(AREA, "compiled by Inductor, value and gradient: eager")
@pytest.mark.full
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler here")
@pytest.mark.parametrize(
    "name",
    ["eigh", "covariance", "sqrtm, published", "sqrtm, products", "solve_lyapunov smith"],
)
def test_by_inductor(name: str, counted: Counted) -> None:
    torch._dynamo.reset()
    f, x = CASES[name]
    compiled = torch.compile(f, fullgraph=True)
    same = zip(with_gradient(compiled, x), with_gradient(f, x), strict=True)
    error = max(relative_error(a, b) for a, b in same)
    counted.within(name, error=error, bound=1e-10, of="1e-10")
