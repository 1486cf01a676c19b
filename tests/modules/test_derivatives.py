"""Derivatives of every module, in forward mode and of many losses at once."""

from collections.abc import Iterator
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from covlayers.functional import UnsupportedError
from tests.built import BATCH_NORMS, MODULES, gradients, sample, trained, unlike_at_first
from tests.counted import Counted
from tests.functional.test_compiled import COMPILER

AREA = "differentiation"
BOUND = 1e-8


@pytest.mark.promise(AREA, "modules, forward mode: the gradient of reverse mode")
@pytest.mark.parametrize("name", MODULES)
def test_forward_mode(name: str, counted: Counted) -> None:
    for training, module, x in built(name):
        error = off_gradient(module, x)
        counted.within(f"training={training}", error=error, bound=BOUND, of=f"{BOUND:.0e}")


@pytest.mark.promise(AREA, "modules, gradients of a batch of losses: one by one")
@pytest.mark.parametrize("name", MODULES)
def test_batch_of_losses(name: str, counted: Counted) -> None:
    for training, module, x in built(name):
        error = off_one_by_one(module, x)
        counted.within(f"training={training}", error=error, bound=BOUND, of=f"{BOUND:.0e}")


@pytest.mark.parametrize("name", BATCH_NORMS)
def test_transforms_and_running_averages(name: str) -> None:
    """Buffers from outside a transform stay whole, with an error; clones made inside may change."""
    module, x = trained(name).train(), sample(name)
    before = deepcopy(module.state_dict())
    for transform in (
        lambda: torch.func.jvp(module, (x,), (x,)),
        lambda: torch.func.grad(lambda x: module(x).square().sum())(x),
        lambda: torch.func.vmap(module)(torch.stack([x, x])),
    ):
        with pytest.raises(UnsupportedError, match="track_running_stats"):
            transform()
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key])

    def loss(parameters: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        buffers = {key: value.clone() for key, value in module.named_buffers()}
        y = torch.func.functional_call(module, (parameters, buffers), x)
        return y.square().sum(), buffers

    _, moved = torch.func.grad(loss, has_aux=True)(dict(module.named_parameters()))
    assert moved["num_batches_tracked"] == before["num_batches_tracked"] + 1


def built(name: str) -> Iterator[tuple[bool, nn.Module, Tensor]]:
    for training in (True, False):
        torch.manual_seed(0)
        module = trained(name, dtype=torch.float64).train(training)
        yield training, module, sample(name, 4).double()


def off_gradient(module: nn.Module, x: Tensor) -> float:
    """The difference of <dy, g> and <dx, gradient for g>, relative to the norms of all four."""
    dx, leaf = waves(x, 1), x.clone().requires_grad_()
    y = deepcopy(module)(leaf)
    g = waves(y, 2)
    (gx,) = torch.autograd.grad(y, leaf, g)
    with forward_ad.dual_level():
        dy = forward_ad.unpack_dual(module(forward_ad.make_dual(x, dx))).tangent
    size = dy.norm() * g.norm() + dx.norm() * gx.norm()
    return float((((dy * g).sum() - (dx * gx).sum()).abs() / size).detach())


def off_one_by_one(module: nn.Module, x: Tensor) -> float:
    x = x.clone().requires_grad_()
    y = module(x)
    losses = torch.stack([waves(y, 1), waves(y, 2)])
    single = torch.stack([torch.autograd.grad(y, x, g, retain_graph=True)[0] for g in losses])
    (batched,) = torch.autograd.grad(y, x, losses, is_grads_batched=True)
    return float((batched - single).norm() / single.norm())


def waves(x: Tensor, seed: int) -> Tensor:
    return torch.sin(seed + torch.arange(x.numel(), dtype=x.dtype) ** 2).view(x.shape)


@pytest.mark.promise(AREA, "compiled by Inductor, value and gradient: eager")
@pytest.mark.full
@pytest.mark.skipif(COMPILER is None, reason="no C++ compiler here")
@pytest.mark.parametrize(
    "name", ["DecorrelatedBatchNorm zca", "CovPool", "CrossCovPool", "WhiteningColoring"]
)
def test_by_inductor(name: str, counted: Counted) -> None:
    torch._dynamo.reset()
    module, x = unlike_at_first(MODULES[name]().double()), sample(name).double()
    compiled = torch.compile(deepcopy(module), fullgraph=True)
    same = zip(gradients(compiled, x), gradients(module, x), strict=True)
    error = max(float((a - b).norm() / b.norm()) for a, b in same)
    counted.within(name, error=error, bound=1e-10, of="1e-10")
