"""Cross-covariance pooling: its heads, its shapes, its errors."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers.modules.pooling.cross_pooling import CrossCovPool
from covlayers.modules.pooling.power_norm import SVPowerNorm
from tests.built import features


def trained(pool: CrossCovPool) -> CrossCovPool:
    """A pool whose statistics and parameters differ from the start."""
    for parameter in pool.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    pool(features().to(next(pool.parameters())))
    return pool


def head(pool: CrossCovPool, side: int, h: int, x: Tensor) -> Tensor:
    """One of the two reductions of one head in evaluation, channel by channel."""
    conv, norm, _ = pool.reductions[side]
    width = pool.reduced_channels[side]
    rows = []
    for c in range(h * width, (h + 1) * width):
        y = (conv.weight[c, :, 0, 0] @ x - norm.running_mean[c]) / (
            norm.running_var[c] + norm.eps
        ).sqrt()
        rows.append((norm.weight[c] * y + norm.bias[c]).relu())
    return torch.stack(rows)


@pytest.mark.parametrize("norm", [None, nn.Identity(), SVPowerNorm(3, num_values=2)])
@pytest.mark.parametrize("num_heads", [1, 3])
def test_each_head_is_a_normalised_cross_covariance(num_heads: int, norm: nn.Module | None) -> None:
    pool = trained(CrossCovPool(6, (4, 3), num_heads, norm=norm).double()).eval()
    x = features(2).double()
    rows = []
    for one in x.flatten(2):
        for h in range(num_heads):
            X, Y = head(pool, 0, h, one), head(pool, 1, h, one)
            X, Y = X - X.mean(1, keepdim=True), Y - Y.mean(1, keepdim=True)
            rows.append(pool.norm(X @ Y.T / X.shape[1]).flatten())
    assert_close(pool(x), torch.stack(rows).view(2, -1))


def test_the_default_is_svpn() -> None:
    assert isinstance(CrossCovPool(6).norm, SVPowerNorm)
    assert CrossCovPool(6).reduced_channels == (6, 6)
    assert CrossCovPool(64).reduced_channels == (32, 32)
    assert CrossCovPool(64, 8).reduced_channels == (8, 8)


@pytest.mark.parametrize(("reduced", "num_heads"), [(4, 1), ((4, 3), 5), (None, 2)])
def test_shapes(reduced: int | tuple[int, int] | None, num_heads: int) -> None:
    pool = CrossCovPool(6, reduced, num_heads)  # more channels in all than come in
    for shape in [(2, 6, 9), (2, 6, 5, 4), (2, 6, 2, 3, 4)]:
        assert pool(torch.randn(shape)).shape == (2, pool.out_features)
    assert pool.eval()(torch.randn(0, 6, 5, 4)).shape == (0, pool.out_features)
    x = features()
    assert_close(pool(x.flatten(2)), pool(x), rtol=1e-4, atol=1e-4)
    assert f"num_heads={num_heads}" in repr(pool)


def test_the_order_of_positions_does_not_matter() -> None:
    pool = trained(CrossCovPool(6, 4, 2)).double().eval()
    x = features(3).double().flatten(2)
    assert_close(pool(x[..., torch.randperm(20)]), pool(x))


@pytest.mark.parametrize("norm", [None, SVPowerNorm(num_values=None)])
def test_gradient(norm: nn.Module | None) -> None:
    pool = trained(CrossCovPool(6, (3, 2), 2, norm=norm).double()).eval()
    x = features(2)[..., :2].double().requires_grad_()
    assert torch.autograd.gradcheck(pool, x)
    if norm is None:
        assert torch.autograd.gradgradcheck(pool, x)


def test_flat_features_train() -> None:
    pool = CrossCovPool(4, 3, 2)
    x = torch.zeros(2, 4, 3, 3, requires_grad=True)
    pool(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in pool.parameters())


def test_keeps_no_matrix_over_positions() -> None:
    pool, M = CrossCovPool(6, 4, 2), 900
    sizes: list[int] = []
    x = torch.randn(1, 6, 30, 30, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel()) or t, lambda t: t
    ):
        pool(x)
    assert max(sizes) < 16 * M


def test_autocast_and_compiled_graphs() -> None:
    torch._dynamo.reset()
    pool = trained(CrossCovPool(6, 4, 2)).eval()
    x = features()
    expected = pool(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = pool(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert_close(half.float(), expected, rtol=0.05, atol=0.05)
    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), expected)
    each = torch.func.vmap(lambda x: pool(x[None])[0])(x)
    assert_close(each, expected, rtol=1e-5, atol=1e-5)
    assert_close(torch.export.export(pool, (x,)).module()(x), expected)
