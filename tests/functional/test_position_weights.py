"""Weights of positions: how much each counts in a covariance and its functions.

References are repeated positions, samples cut to length, and numpy's weighted covariance.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from tests.properties import relative_error

C, M = 6, 9
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "covariance": F.covariance,
    "covariance about zero": partial(F.covariance, center=False),
    "covariance, shrunk": partial(F.covariance, eps=0.1, shrinkage=0.3),
    "cross_covariance": lambda x, **w: F.cross_covariance(x, x.flip(-2)[..., :2, :], **w),
    "root on the channels": partial(F.covariance_function, eps=0.1, side="channels"),
    "root on the positions": partial(F.covariance_function, eps=0.1, side="positions"),
    "logarithm, shrunk": partial(
        F.covariance_function, function="logm", eps=0.1, shrinkage=0.3, side="positions"
    ),
    "published inverse root": partial(
        F.covariance_function, function=-0.5, eps=0.1, method="pade", backward="autograd"
    ),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) + 2


def gradient(f: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = f(x)
    return y.detach(), torch.autograd.grad(y, x, features(*y.shape, seed=1))[0]


@each_function
def test_a_whole_weight_is_a_repeated_position(name: str) -> None:
    f, x = FUNCTIONS[name], features(C, M)
    w = torch.tensor([1, 2, 0, 3, 1, 1, 0, 2, 1])
    value, grad = gradient(lambda x: f(x, weights=w.double()), x)
    expected, all_grads = gradient(lambda x: f(x.repeat_interleave(w, -1)), x)
    assert relative_error(value, expected) < 1e-12
    assert relative_error(grad, all_grads) < 1e-10


@each_function
@pytest.mark.parametrize("padding", [0.0, 1e30, torch.inf, torch.nan])
def test_a_masked_batch_is_its_samples_cut_to_length(name: str, padding: float) -> None:
    f, x, lengths = FUNCTIONS[name], features(3, C, M), (M, 5, 2)
    mask = torch.arange(M) < torch.tensor(lengths)[:, None]
    value, grad = gradient(lambda x: f(x, weights=mask), torch.where(mask[:, None], x, padding))
    G = features(*value.shape, seed=1)
    for i, length in enumerate(lengths):
        cut = x[i, :, :length].clone().requires_grad_()
        expected = f(cut)
        (alone,) = torch.autograd.grad(expected, cut, G[i])
        assert relative_error(value[i], expected.detach()) < 1e-12
        assert relative_error(grad[i, :, :length], alone) < 1e-10
        assert (grad[i, :, length:] == 0).all()


def test_numpy_agrees() -> None:
    x, w = features(C, M), features(M, seed=3).abs()
    expected = np.cov(x.numpy(), aweights=w.numpy(), ddof=0)
    assert np.allclose(F.covariance(x, weights=w).numpy(), expected, rtol=1e-12)
    joint = np.cov(torch.cat([x, x.sin()]).numpy(), aweights=w.numpy(), ddof=0)
    cross = F.cross_covariance(x, x.sin(), weights=w).numpy()
    assert np.allclose(cross, joint[:C, C:], rtol=1e-12)


@each_function
def test_no_scale_of_the_weights_matters(name: str) -> None:
    f, x, w = FUNCTIONS[name], features(2, C, M), features(2, M, seed=4).abs()
    expected = f(x, weights=w)
    for scale in (1e-300, 1e-30, 1e30, 1e300):
        assert relative_error(f(x, weights=scale * w), expected) < 1e-12


@each_function
def test_shapes_that_broadcast(name: str) -> None:
    f, x = FUNCTIONS[name], features(2, 3, C, M)
    for shape in ((M,), (3, M), (1, M), (2, 1, M), (2, 3, M)):
        w = features(*shape, seed=5).abs().requires_grad_()
        whole = w.expand(2, 3, M)
        y = f(x, weights=w)
        assert torch.equal(y, f(x, weights=whole))
        if name != "published inverse root":
            assert torch.autograd.grad(y.sum(), w)[0].shape == w.shape
    one, many = features(C, M), features(2, M, seed=6).abs()
    with pytest.raises(F.InvalidValueError, match=r"weights must have a shape that broadcasts"):
        F.covariance(one, weights=many)
    assert F.cross_covariance(one, x[0], weights=features(3, M).abs()).shape == (3, C, C)


@each_function
def test_derivatives_by_the_weights_and_the_features(name: str) -> None:
    f, x, w = FUNCTIONS[name], features(2, C, M), features(2, M, seed=7).abs().requires_grad_()
    w.data[0, 2] = 0
    inputs = (x.requires_grad_(), w)
    # at 0 a weight has a slope to one side alone, which is the one that is given
    inside = (x, (w.detach() + 0.1).requires_grad_())
    call = lambda x, w: f(x, weights=w)
    assert torch.autograd.gradcheck(call, inside)
    if name != "logarithm, shrunk":  # whose rule has no second derivative, and raises
        assert torch.autograd.gradgradcheck(call, inside, atol=1e-4)
    slope = torch.autograd.grad(call(*inputs).sum(), w)[0]
    step = torch.zeros_like(slope)
    step[0, 2] = 1e-6
    ahead = (call(x, w.detach() + step).sum() - call(x, w.detach()).sum()) / 1e-6
    assert abs(slope[0, 2] - ahead) < 1e-4 * slope.abs().max()


@each_function
def test_transforms_and_forward_mode(name: str) -> None:
    f, x, w = FUNCTIONS[name], features(3, C, M), features(3, M, seed=8).abs()
    call = lambda x, w: f(x, weights=w)
    assert relative_error(torch.func.vmap(call)(x, w), call(x, w)) < 1e-12
    shared = torch.func.vmap(call, in_dims=(0, None))(x, w[0])
    assert relative_error(shared, call(x, w[0])) < 1e-12
    tangents = features(3, C, M, seed=9), features(3, M, seed=10)
    moved = torch.func.jvp(call, (x, w), tangents)[1]
    step = 1e-6
    there, back = (call(x + s * tangents[0], w + s * tangents[1]) for s in (step, -step))
    assert relative_error(moved, (there - back) / (2 * step)) < 1e-6


@pytest.mark.parametrize("name", ["covariance", "cross_covariance", "root on the channels"])
def test_compiles_whole(name: str) -> None:
    f, x, mask = FUNCTIONS[name], features(2, C, M), torch.arange(M) < 7
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    for weights in (mask, features(2, M).abs()):
        expected, found = (gradient(partial(g, weights=weights), x) for g in (f, compiled))
        assert relative_error(found[0], expected[0]) < 1e-12
        assert relative_error(found[1], expected[1]) < 1e-10


@each_function
def test_half_features_and_autocast(name: str) -> None:
    f, x, mask = FUNCTIONS[name], features(2, C, M).bfloat16(), torch.arange(M) < 7
    expected = f(x.float(), weights=mask)
    assert torch.equal(f(x, weights=mask), expected.bfloat16())
    assert torch.equal(f(x, weights=mask.bfloat16()), expected.bfloat16())
    with torch.autocast("cpu"):
        assert torch.equal(f(x.float(), weights=mask), expected)


@each_function
def test_without_weight_there_is_no_covariance(name: str) -> None:
    f, x = FUNCTIONS[name], features(2, C, M).requires_grad_()
    w = torch.ones(2, M, dtype=torch.float64)
    w[1] = 0
    w.requires_grad_()
    y = f(x, weights=w)
    zero = torch.zeros_like(x)
    assert relative_error(y[0].detach(), f(x)[0].detach()) < 1e-12
    assert relative_error(y[1].detach() + 1, f(zero)[1] + 1) < 1e-12
    for grad in torch.autograd.grad(y.sum(), (x, w), allow_unused=True):
        assert grad is None or grad.isfinite().all()


def test_nothing_but_inputs_is_kept() -> None:
    kept: list[Tensor] = []
    x, w = features(2, C, M).requires_grad_(), features(2, M).abs().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        F.covariance(x, weights=w)
    assert max(t.numel() for t in kept if t.data_ptr() != x.data_ptr()) <= w.numel()


@each_function
@pytest.mark.parametrize("value", [-1.0, torch.inf, torch.nan])
def test_what_is_no_weight(name: str, value: float) -> None:
    f, x, w = FUNCTIONS[name], features(3, C, M), torch.ones(3, M, dtype=torch.float64)
    w[1, 2] = value
    with pytest.raises(F.InvalidValueError, match=r"weights must be at least 0 and finite, got"):
        f(x, weights=w)
    # where values cannot be looked at, that sample alone is NaN
    y = torch.func.vmap(lambda x, w: f(x, weights=w))(x, w)
    assert y[1].isnan().all()
    assert relative_error(y[::2], f(x[::2])) < 1e-12


@each_function
def test_other_types_and_shapes(name: str) -> None:
    f, x = FUNCTIONS[name], features(2, C, M)
    for wrong, says in (([1.0] * M, "got list"), (torch.ones(M).long(), "torch.int64")):
        with pytest.raises(F.InvalidTypeError, match=f"weights must .*{says}"):
            f(x, weights=wrong)
    with pytest.raises(F.InvalidTypeError, match=r"weights must have the dtype .*float32"):
        f(x, weights=torch.ones(M))
    for shape in ((), (1,), (M - 1,), (3, M), (1, 2, M), (C, M)):
        with pytest.raises(F.InvalidValueError, match=r"weights must have a shape that broadcasts"):
            f(x, weights=torch.ones(shape).double())
    with pytest.raises(F.InvalidValueError, match=r"weights must be on the device"):
        f(x, weights=torch.ones(M, dtype=torch.float64, device="meta"))
