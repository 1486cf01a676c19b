"""The norms by the kernels of a batch on an accelerator, against float64 on the CPU."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import covlayers as cl
from covlayers.functional._batch.kernels import Kernels
from covlayers.functional._batch.normalise import _passes

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
    pytest.skip("no accelerator that the kernels serve", allow_module_level=True)

LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "DecorrelatedBatchNorm": lambda C: cl.DecorrelatedBatchNorm(C, eps=0.1),
    "in groups": lambda C: cl.DecorrelatedBatchNorm(C, 5, eps=0.1, shrinkage=0.1),
    "of single channels": lambda C: cl.DecorrelatedBatchNorm(C, C, eps=0.1),
    "plain averages": lambda C: cl.DecorrelatedBatchNorm(C, 5, eps=0.1, momentum=None),
    "IterNorm": lambda C: cl.IterNorm(C, 5),
    "GroupWhitening": lambda C: cl.GroupWhitening(C, num_groups=5, eps=0.1),
}
SHAPES = ((8, 20, 32, 32), (5, 70, 9, 7), (3, 200, 14, 14), (64, 10), (2, 20, 4, 8, 8))
FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def error(actual: Tensor, expected: Tensor) -> float:
    """In the Frobenius norm, relative."""
    expected = expected.double()
    difference = torch.linalg.vector_norm(actual.double() - expected)
    return float(difference / torch.linalg.vector_norm(expected))


def step(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, gradients and averages."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(y, [x, *layer.parameters()], weights.to(y))
    return [y.detach(), *gradients, *layer.buffers()]


# The interpreter's errors are below 2e-6; here tensor cores add in an order of their own.
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LAYERS)
def test_errors_of_rounding_alone(name: str, shape: tuple[int, ...], last: bool) -> None:
    if last and len(shape) not in FORMATS:
        pytest.skip("one format only")
    torch.manual_seed(0)
    x = torch.randn(shape) + 3
    x = x.contiguous(memory_format=FORMATS[len(shape)]) if last else x
    layer = LAYERS[name](shape[1])
    wide = copy.deepcopy(layer).double()
    layer = layer.cuda()
    assert isinstance(_passes(x.cuda(), layer.num_groups), Kernels)
    for found, expected in zip(step(layer, x.cuda()), step(wide, x.double()), strict=True):
        assert error(found.cpu(), expected) < 2e-4
    with torch.no_grad():
        y = layer.eval()(x.cuda())
        assert error(y.cpu(), wide.eval()(x.double())) < 2e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half(dtype: torch.dtype) -> None:
    x = torch.randn(8, 64, 16, 16).to(dtype)
    layer = cl.DecorrelatedBatchNorm(64, 4).cuda()
    expected = step(copy.deepcopy(layer), x.cuda().float())
    for found, one in zip(step(layer, x.cuda()), expected, strict=True):
        assert error(found, one) < 4 * torch.finfo(dtype).eps


def test_a_large_mean_costs_no_accuracy() -> None:
    x = torch.randn(16, 64, 32, 32)
    layer = cl.DecorrelatedBatchNorm(64, momentum=1.0).cuda()
    layer((x + 1024).cuda())
    moved = (x + 1024).double().transpose(0, 1).flatten(1)
    assert error(layer.running_cov.cpu(), moved.cov()[None]) < 1e-5


def test_a_step_gives_the_same_bits_twice() -> None:
    x = torch.randn(16, 64, 32, 32, device="cuda")
    layer = cl.DecorrelatedBatchNorm(64).cuda()
    first, second = step(copy.deepcopy(layer), x), step(layer, x)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())


def test_a_forward_pass_is_captured_in_a_graph() -> None:
    x = torch.randn(8, 64, 16, 16, device="cuda")
    layer = cl.DecorrelatedBatchNorm(64).cuda()
    with torch.no_grad():
        layer(x)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = layer(x)
        x.copy_(2 * x.flip(0))
        graph.replay()
        assert torch.equal(y, layer(x))
        assert layer.num_batches_tracked == 3
