"""CUDA graphs of functions and layers: a replay on other input is what eager mode computes."""

import copy
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers import functional as F
from tests.built import BATCH_NORMS, MODULES, sample
from tests.capturable import UNCAPTURED, dispatched
from tests.properties import spd

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available():
    pytest.skip("no accelerator here", allow_module_level=True)

CAPTURABLE = [
    name for name in MODULES if not dispatched(MODULES[name](), [sample(name)]) & UNCAPTURED
]
TOLERANCE = {"rtol": 1e-3, "atol": 1e-4}


def passes(run: Callable[..., Tensor], x: Tensor, learnt: Sequence[Tensor]) -> list[Tensor]:
    """Output and gradients."""
    y = run(x)
    weights = torch.sin(torch.arange(y.numel(), device=y.device, dtype=y.dtype)).view_as(y)
    grads = torch.autograd.grad(y, [x, *learnt], weights, allow_unused=True)
    return [one.detach().clone() for one in (y, *grads) if one is not None]


def placed(name: str) -> tuple[nn.Module, nn.Module, list[Tensor]]:
    """A layer, its twin, and two inputs."""
    module = MODULES[name]().cuda()
    inputs = [sample(name, seed=seed).cuda().requires_grad_() for seed in (0, 1)]
    return module, copy.deepcopy(module), inputs


def same(module: nn.Module, twin: nn.Module, run: Callable[..., Tensor], x: Tensor) -> None:
    """The captured layer and its twin agree, and so do their averages afterwards."""
    twin.load_state_dict(module.state_dict())
    replayed = passes(run, x, [*module.parameters()])
    expected = passes(twin, x, [*twin.parameters()])
    assert_close(replayed, expected, **TOLERANCE)
    for key, value in module.state_dict().items():
        assert_close(value, twin.state_dict()[key], **TOLERANCE)


@pytest.mark.parametrize("name", CAPTURABLE)
def test_make_graphed_callables(name: str) -> None:
    module, twin, (first, second) = placed(name)
    graphed = torch.cuda.make_graphed_callables(module, (first,))
    for x in (second, first):
        same(module, twin, graphed, x)


@pytest.mark.parametrize("name", [name for name in CAPTURABLE if name in BATCH_NORMS])
def test_evaluation_after_replays(name: str) -> None:
    module, twin, (first, second) = placed(name)
    module.eval()(first)  # which derives a matrix from the averages
    module.train()
    graphed = torch.cuda.make_graphed_callables(module, (first,))
    graphed(second)
    twin.load_state_dict(module.state_dict())
    assert_close(graphed.eval()(first), twin.eval()(first), **TOLERANCE)


def test_reduce_overhead() -> None:
    compiled_replays("DecorrelatedBatchNorm zca")


@pytest.mark.full
@pytest.mark.parametrize("name", CAPTURABLE)
def test_reduce_overhead_of_every_layer(name: str) -> None:
    compiled_replays(name)


def compiled_replays(name: str) -> None:
    """From the third call on the compiled layer is a graph."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    module, twin, inputs = placed(name)
    compiled = torch.compile(module, mode="reduce-overhead")
    for x in (*inputs, *inputs):
        torch.compiler.cudagraph_mark_step_begin()
        same(module, twin, compiled, x)
    assert not torch._dynamo.utils.counters["inductor"]["cudagraph_skips"]


@pytest.mark.parametrize("function", [F.sqrtm, F.invsqrtm, F.whitening_matrix])
@pytest.mark.parametrize("n", [6, 64, 128])
def test_a_whole_step(function: Callable[[Tensor], Tensor], n: int) -> None:
    if dispatched(function, [spd(2, n=n).float()]) & UNCAPTURED:
        pytest.skip("this torch solves by MAGMA")
    A = spd(8, n=n).float().cuda().requires_grad_()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            passes(function, A, [])
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = passes(function, A, [])
    with torch.no_grad():
        A.copy_(4 * A.flip(0))
    graph.replay()
    assert_close(found, passes(function, A, []), **TOLERANCE)
