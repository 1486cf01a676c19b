"""What holds for every module: its states, its formats, its precisions, its errors."""

import copy
import io
import pickle
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from covlayers import functional as F
from tests.built import (
    MAPS,
    MODULES,
    NORMS,
    features,
    gradients,
    sample,
    trained,
    weighted,
)
from tests.counted import Counted

HALVES = (torch.float16, torch.bfloat16)
DYNAMIC = ("DecorrelatedBatchNorm zca", "GroupWhitening", "SwitchableWhitening", "CovPool")
FIRST_ORDER = {
    *("MPNCovPool", "CovPool log", "CovPool power", "CrossCovPool exact"),
    *("PCANorm", "PCANorm power iteration"),
    # with the fused attention of torch
    *("AttentiveTemporalCovPool video", "AttentiveTemporalCovPool frame"),
    *("TCPCovPool", "TemporalSpatialAttention"),
}
# The others are traced in the full form: they go through the code of these.
TRACED = (
    *("DecorrelatedBatchNorm zca", "PCANorm", "SwitchableWhitening", "CovPool reduced"),
    *("CrossCovPool learnt", "CovAttention", "SecondOrderHead late"),
    *("AttentiveTemporalCovPool video", "WhiteningColoring smith"),
)
each_module = pytest.mark.parametrize("name", MODULES)
each_of_maps = pytest.mark.parametrize("name", MAPS)
each_norm = pytest.mark.parametrize("name", NORMS)


def traced(what: str) -> list[object]:
    """Every module, with the marks for what is traced."""
    shows, left_out = pytest.mark.support(what), pytest.mark.full
    return [
        pytest.param(name, marks=[shows] if name in TRACED else [shows, left_out])
        for name in MODULES
    ]


def assert_same_state(module: nn.Module, other: nn.Module) -> None:
    assert_close(module.state_dict(), other.state_dict(), rtol=0, atol=0)


@each_module
def test_gradient_reaches_input_and_parameters(name: str) -> None:
    for grad in gradients(trained(name), sample(name)):
        assert torch.isfinite(grad).all()
        assert grad.abs().sum() > 0


@pytest.mark.support("state_dict, pickle")
@each_module
def test_copies_and_checkpoints(name: str) -> None:
    module = trained(name).eval()
    x = sample(name)
    expected = module(x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    loaded = MODULES[name]().eval()
    loaded(x)  # so that a stale matrix would show
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
        assert_close(twin(x), expected, rtol=0, atol=0)
        assert repr(twin) == repr(module)
        assert_same_state(twin, module)


@pytest.mark.support("float64")
@each_module
def test_moves_to_another_dtype(name: str) -> None:
    module = trained(name).eval()
    x = sample(name)
    double = copy.deepcopy(module).double()
    assert double(x.double()).dtype == torch.float64
    assert_close(double(x.double()).float(), module(x), rtol=1e-3, atol=1e-3)
    assert_close(double.float()(x), module(x), rtol=1e-4, atol=1e-4)


@pytest.mark.support("meta device")
@each_module
def test_is_built_on_the_meta_device(name: str) -> None:
    module = MODULES[name](device="meta", dtype=torch.float64)
    for tensor in (*module.parameters(), *module.buffers()):
        assert tensor.is_meta
        assert tensor.dtype == torch.float64 or not tensor.is_floating_point()
    module = module.to_empty(device="cpu")
    source = trained(name)
    module.load_state_dict(source.state_dict())
    x = sample(name).double()
    assert_close(module.eval()(x), source.double().eval()(x), rtol=1e-4, atol=1e-4)


@pytest.mark.support("channels_last")
@each_of_maps
def test_channels_last_gives_the_same(name: str) -> None:
    module = trained(name)
    x = sample(name)
    fast = x.to(memory_format=torch.channels_last)
    for mode in (True, False):
        module.train(mode)
        y = copy.deepcopy(module)(fast)
        assert_close(y, copy.deepcopy(module)(x), rtol=1e-3, atol=1e-3)
        if name in NORMS:
            assert module(x).is_contiguous()
            assert module(x[..., :2, :1]).is_contiguous()  # few positions
            assert y.is_contiguous(memory_format=torch.channels_last)
        same = zip(gradients(module, fast), gradients(module, x), strict=True)
        for a, b in same:
            assert_close(a, b, rtol=1e-3, atol=1e-3)


@each_norm
def test_any_spatial_shape(name: str) -> None:
    module = trained(name).eval()
    x = features()
    expected = module(x)
    assert_close(module(x.flatten(2)).view_as(x), expected, rtol=1e-4, atol=1e-5)
    assert_close(module(x.unsqueeze(2)).view_as(x), expected, rtol=1e-4, atol=1e-5)
    padded = torch.cat([x, x], -1)[..., : x.shape[-1]]  # not contiguous
    assert_close(module(padded), expected, rtol=1e-4, atol=1e-5)
    assert module(x[:0]).shape == x[:0].shape


@pytest.mark.promise("differentiation", "compile: tests of modules")
@pytest.mark.parametrize("name", traced("compile"))
def test_compiles_without_a_graph_break(name: str, whole_graph: Callable[..., Any]) -> None:
    compile_and_compare(name, whole_graph, dynamic=False)


@pytest.mark.support("dynamic shapes")
@pytest.mark.promise("differentiation", "dynamic shapes: tests of modules")
@pytest.mark.parametrize("name", DYNAMIC)
def test_compiles_for_any_batch(name: str, whole_graph: Callable[..., Any]) -> None:
    compile_and_compare(name, whole_graph, dynamic=True)


def compile_and_compare(name: str, whole_graph: Callable[..., Any], *, dynamic: bool) -> None:
    module = trained(name)
    twin = copy.deepcopy(module)
    compiled = whole_graph(twin, dynamic=dynamic)
    # A layer that has no averages does in evaluation what it does in training.
    averages = any("running" in key for key in module.state_dict())
    for mode in (True, False) if averages else (True,):
        compiled.train(mode)
        module.train(mode)
        expected = zip(all_of(module, sample(name)), all_of(compiled, sample(name)), strict=True)
        for a, b in expected:
            assert_close(a, b, rtol=1e-3, atol=1e-3)
        assert_close(module.state_dict(), twin.state_dict())
    assert_close(all_of(compiled, sample(name))[0], module(sample(name)), rtol=1e-5, atol=1e-5)
    if dynamic:
        x = sample(name, 10)
        with torch.compiler.set_stance("fail_on_recompile"):
            y = all_of(compiled, x)[0]
        assert_close(y, module(x), rtol=1e-5, atol=1e-5)


def all_of(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Output and gradients."""
    x = x.requires_grad_()
    y = module(x)
    return [y.detach(), *torch.autograd.grad(weighted(y), [x, *module.parameters()])]


@pytest.mark.parametrize("name", traced("export"))
def test_exports_for_evaluation(name: str) -> None:
    module = trained(name).eval()
    x = sample(name)
    exported = torch.export.export(module, (x,)).module()
    assert_close(exported(x), module(x), rtol=1e-5, atol=1e-5)


@pytest.mark.support("autocast")
@each_module
def test_half_features_compute_in_float32(name: str, counted: Counted) -> None:
    module = trained(name)
    for dtype, mode in product(HALVES, (True, False)):
        x = sample(name).to(dtype)
        module.train(mode)
        y = copy.deepcopy(module)
        with torch.autocast("cpu", dtype=dtype):
            actual = y(x)
        expected = copy.deepcopy(module)(x.float())
        with counted(dtype, f"training={mode}"):
            assert actual.dtype == dtype
            if convolves(module):
                # they run in half, as autocast has it
                bound = 8 * torch.finfo(dtype).eps * expected.norm()
                assert (actual.float() - expected).norm() < bound
            else:
                tolerance = 4 * torch.finfo(dtype).eps
                assert_close(actual.float(), expected, rtol=tolerance, atol=tolerance)
            assert all(torch.isfinite(grad).all() for grad in gradients(y, sample(name)))


@pytest.mark.support("half input")
@each_module
def test_half_features_without_autocast(name: str, record_property, counted: Counted) -> None:
    module = trained(name)
    if convolves(module):
        record_property("support", "raises the RuntimeError of a float32 torch layer")
    for dtype in HALVES:
        x = sample(name).to(dtype)
        with counted(dtype):
            if convolves(module):
                with pytest.raises(RuntimeError, match="type"):
                    module(x)
                continue
            y = copy.deepcopy(module)(x)
            assert y.dtype == dtype
            tolerance = 4 * torch.finfo(dtype).eps
            assert_close(y.float(), module(x.float()), rtol=tolerance, atol=tolerance)


def convolves(module: nn.Module) -> bool:
    return any(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())


@pytest.mark.support("vmap")
@pytest.mark.promise("differentiation", "vmap: tests of modules")
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # torch's fused attention
@each_module
def test_vmap_in_evaluation(name: str) -> None:
    module = trained(name).eval()
    pairs = sample(name, 8).unflatten(0, (4, 2))
    grad = torch.func.grad(lambda x: weighted(module(x)))
    expected = torch.stack([module(x) for x in pairs])
    assert_close(torch.func.vmap(module)(pairs), expected, rtol=1e-4, atol=1e-5)
    expected = torch.stack([grad(x) for x in pairs])
    assert_close(torch.func.vmap(grad)(pairs), expected, rtol=1e-4, atol=1e-5)


@each_module
def test_gradients_accumulate(name: str) -> None:
    module = trained(name)
    a, b = sample(name, seed=3), sample(name, seed=4)
    expected = [
        p + q
        for p, q in zip(
            gradients(copy.deepcopy(module), a)[1:],
            gradients(copy.deepcopy(module), b)[1:],
            strict=True,
        )
    ]
    losses = weighted(module(a.requires_grad_())), weighted(module(b.requires_grad_()))
    (losses[0] + losses[1]).backward()  # both forward passes before the one backward pass
    for parameter, grad in zip(module.parameters(), expected, strict=True):
        assert_close(parameter.grad, grad, rtol=1e-4, atol=1e-4)


@pytest.mark.support("checkpointing")
@pytest.mark.parametrize("reentrant", [False, True])
@each_module
def test_activation_checkpointing_gives_the_same_gradient(name: str, reentrant: bool) -> None:
    module = trained(name)
    twin = copy.deepcopy(module)
    x = sample(name)

    def through_checkpoint(x: Tensor) -> Tensor:
        return checkpoint(twin, x, use_reentrant=reentrant)

    x = x.requires_grad_()
    expected = torch.autograd.grad(weighted(module(x)), [x, *module.parameters()])
    weighted(through_checkpoint(x)).backward()
    actual = [x.grad, *(parameter.grad for parameter in twin.parameters())]
    for a, b in zip(actual, expected, strict=True):
        assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.support("second derivative")
@pytest.mark.promise("differentiation", "second derivative: tests of modules")
@each_module
def test_second_derivative_is_right_or_raises(name: str, record_property) -> None:
    module = trained(name).double()
    x = sample(name, 4).double().requires_grad_()

    def first(x: Tensor) -> Tensor:
        return torch.autograd.grad(weighted(module(x)), x, create_graph=True)[0]

    if name in FIRST_ORDER:
        ours = (F.UnsupportedError, "second derivative")
        error, words = ours if name in MAPS else (RuntimeError, "not implemented")
        whose = "UnsupportedError" if name in MAPS else "the RuntimeError of torch's attention"
        record_property("support", f"raises {whose}")
        with pytest.raises(error, match=words):
            torch.autograd.grad(weighted(first(x)), x)
        return
    (second,) = torch.autograd.grad(weighted(first(x)), x)
    direction = torch.randn_like(x)
    h = 1e-5
    change = (weighted(first(x + h * direction)) - weighted(first(x - h * direction))) / (2 * h)
    # The eight sign steps of Lyapunov(8) solve its adjoint equation to some per cent only.
    damped = getattr(getattr(module, "pool", module), "backward", None) == F.Lyapunov(8)
    assert_close(
        (second * direction).sum(), change.detach(), rtol=0.05 if damped else 1e-4, atol=1e-4
    )


@each_norm
def test_an_operation_in_place_may_follow(name: str) -> None:
    module = trained(name)
    x = features()
    for mode in (True, False):
        module.train(mode)
        expected = gradients(nn.Sequential(copy.deepcopy(module), nn.ReLU()), x)
        actual = gradients(nn.Sequential(copy.deepcopy(module), nn.ReLU(inplace=True)), x)
        for a, b in zip(actual, expected, strict=True):
            assert_close(a, b)
