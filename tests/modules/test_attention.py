"""Attention by covariances: its formula, its symmetry, its formats."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers.modules.pooling.attention import CovAttention
from tests.built import gradients, unlike_at_first

PARTS = {
    "channel": {"position": False},
    "position": {"channel": False},
    "both": {},
}
each_part = pytest.mark.parametrize("name", PARTS)


def images(H: int = 7, W: int = 5, N: int = 3) -> Tensor:
    return torch.randn(N, 6, H, W, generator=torch.Generator().manual_seed(H))


def trained(name: str, **options) -> CovAttention:
    """An attention with nothing left at its start."""
    return unlike_at_first(CovAttention(6, 4, grid_size=3, **PARTS[name], **options))


def weights(rows: nn.Sequential, matrix: Tensor) -> Tensor:
    """The weights that one covariance gives, row by row."""
    norm, of_each_row, _, mix, _ = rows
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    matrix = (matrix - norm.running_mean[:, None]) * scale[:, None] + norm.bias[:, None]
    kernels = of_each_row.weight.view(len(matrix), 4, -1)
    hidden = torch.cat([kernel @ row for kernel, row in zip(kernels, matrix, strict=True)])
    hidden = nn.functional.leaky_relu(hidden + of_each_row.bias)
    return torch.sigmoid(mix.weight.flatten(1) @ hidden + mix.bias)


def test_channel_weights_are_their_formula() -> None:
    module = trained("channel").double().eval()
    part = module.parts["channel"]
    x = images().double()
    for one, y in zip(x, module(x), strict=True):
        z = part.reduction(one[None])[0]
        cov = torch.cov(z, correction=0)
        assert_close(y, weights(part.rows, cov)[:, None, None] * one)


@pytest.mark.parametrize("size", [(7, 5), (3, 3), (2, 1)])
def test_position_weights_are_their_formula(size: tuple[int, int]) -> None:
    module = trained("position").double().eval()
    part = module.parts["position"]
    x = images(*size).double()
    for one, y in zip(x, module(x), strict=True):
        z = part.reduction(one[None])[0].view(4, *size)
        grid = torch.stack(
            [
                z[
                    :,
                    i * size[0] // 3 : -(-(i + 1) * size[0] // 3),
                    j * size[1] // 3 : -(-(j + 1) * size[1] // 3),
                ].mean((1, 2))
                for i in range(3)
                for j in range(3)
            ]
        )  # (P, c)
        v = weights(part.rows, torch.cov(grid, correction=0)).view(1, 1, 3, 3)
        v = nn.functional.interpolate(v, size, mode="bilinear", align_corners=False)
        assert_close(y, v[0] * one)


def test_both_parts_are_the_mean_of_the_two() -> None:
    both = trained("both").eval()
    x = images()
    expected = 0.0
    for name in ("channel", "position"):
        alone = trained(name).eval()
        alone.parts[name].load_state_dict(both.parts[name].state_dict())
        expected = expected + alone(x) / 2
    assert_close(both(x), expected)


def test_channel_weights_do_not_see_the_order_of_positions() -> None:
    module = trained("channel").eval()
    x = images()
    order = torch.randperm(35)
    shuffled = x.flatten(2)[..., order].view_as(x)
    assert_close(module(shuffled), module(x).flatten(2)[..., order].view_as(x))


@each_part
def test_gradient_reaches_input_and_parameters(name: str) -> None:
    for grad in gradients(trained(name), images()):
        assert torch.isfinite(grad).all()
        assert grad.any()
    module = CovAttention(6, **PARTS[name])
    assert all(grad.any() for grad in gradients(module, images()))


@each_part
def test_second_derivative(name: str) -> None:
    module = trained(name).double()
    x = images(3, 2).double().requires_grad_()
    assert torch.autograd.gradgradcheck(module, x)


@each_part
def test_memory_format_is_kept(name: str) -> None:
    module = trained(name)
    x = images()
    fast = x.to(memory_format=torch.channels_last)
    assert module(x).is_contiguous()
    assert module(fast).is_contiguous(memory_format=torch.channels_last)
    same = zip(gradients(module, fast), gradients(module, x), strict=True)
    for a, b in same:
        assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_part
def test_half(name: str, dtype: torch.dtype) -> None:
    module = trained(name).eval()
    x = images().to(dtype)
    expected = module(x.float())
    with torch.autocast("cpu", dtype=dtype):
        assert module(x.float()).dtype == torch.float32
        assert module(x).dtype == dtype
        assert_close(module(x).float(), expected, rtol=0.1, atol=0.1)
    actual = copy.deepcopy(module).to(dtype)(x)
    assert actual.dtype == dtype
    assert_close(actual.float(), expected, rtol=0.1, atol=0.1)


@each_part
def test_empty_batches(name: str) -> None:
    module = trained(name)
    for mode in (True, False):
        x = images(N=0).requires_grad_()
        y = module.train(mode)(x)
        assert y.shape == x.shape
        y.sum().backward()


def test_defaults() -> None:
    wide = CovAttention(200, device="meta", dtype=torch.float64)
    rows = [part.rows[1] for part in wide.parts.values()]
    assert [(row.groups, row.out_channels, row.kernel_size) for row in rows] == [
        (128, 512, (1, 128)),
        (64, 256, (1, 64)),
    ]
    for tensor in (*wide.parameters(), *wide.buffers()):
        assert tensor.is_meta
        assert tensor.dtype == torch.float64 or not tensor.is_floating_point()
