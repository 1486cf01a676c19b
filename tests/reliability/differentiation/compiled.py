"""Compiled functions, modules and derivatives, other batches, and operators: as in eager."""

import os
import shutil
from collections.abc import Iterator
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional import METHODS
from tests.built import MODULES, gradients, sample, unlike_at_first
from tests.operator_calls import OPERATORS, arguments
from tests.properties import relative_error, spd
from tests.reliability.differentiation.differentiable import CASES, Function, flat
from tests.reliability.differentiation.transforms import inside, rules
from tests.reliability.rows import Row, row
from tests.reliability.tally import Tally

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
    for name, operator in OPERATORS.items():
        for batch in BATCHES:
            A = spd(*batch).float()
            for laid_out, view in (("", A), (", transposed", A.mT)):
                found = torch.library.opcheck(
                    operator, arguments(name, view), raise_exception=False
                )
                outcomes[f"{name} {batch}{laid_out}"] = set(found.values()) == {"SUCCESS"}
    return row(area, "operators of the kernels: torch.library.opcheck", outcomes)
