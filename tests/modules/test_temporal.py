"""Covariance pooling of videos: its blocks by their formulas, its levels, its symmetries."""

import copy
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers import CovPool, ISQRTCovPool, MPACovPool
from covlayers import functional as F
from covlayers.modules.video.temporal_attention import (
    TemporalChannelAttention,
    TemporalSpatialAttention,
)
from covlayers.modules.video.temporal_conv import TemporalConv
from covlayers.modules.video.temporal_pooling import AttentiveTemporalCovPool
from tests.built import gradients, unlike_at_first
from tests.counted import Counted

OFF = {"spatial_attention": False, "channel_attention": False, "temporal_conv": False}
LEVELS = ("video", "frame")
each_level = pytest.mark.parametrize("level", LEVELS)
each_number_of_frames = pytest.mark.parametrize("T", [1, 2, 3, 8, 9])
each_half = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
BLOCKS = {
    "spatial": TemporalSpatialAttention,
    "channel": TemporalChannelAttention,
    "conv": partial(TemporalConv, num_frames=8),
}
each_block = pytest.mark.parametrize("name", BLOCKS)


def videos(T: int = 8, N: int = 2, C: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(T)
    return torch.randn(N, T, C, 5, 4, generator=generator)


def pool(**options) -> AttentiveTemporalCovPool:
    return AttentiveTemporalCovPool(6, 8, attention_channels=5, reduced_channels=4, **options)


@each_number_of_frames
def test_spatial_attention_is_its_formula(T: int) -> None:
    block = unlike_at_first(TemporalSpatialAttention(6)).double().eval()
    x = videos(T).double()
    expected = []
    for t in range(T):
        before, earlier = x[:, max(t - 1, 0)].flatten(2), x[:, max(t - 2, 0)].flatten(2)
        query, key = block.query.weight @ before, block.key.weight @ earlier  # (N, C, M)
        affinity = torch.softmax(query.mT @ key / 6**0.5, -1)  # (N, M, M)
        attended = (block.value.weight @ x[:, t].flatten(2)) @ affinity.mT
        norm = nn.BatchNorm2d(6).double().eval()
        norm.load_state_dict(block.norm.state_dict())
        expected.append(x[:, t] + norm(attended.view_as(x[:, t])))
    assert_close(block(x), torch.stack(expected, 1))


@each_number_of_frames
def test_channel_attention_is_its_formula(T: int) -> None:
    block = unlike_at_first(TemporalChannelAttention(6)).double()
    x = videos(T).double()
    means = x.mean((-2, -1))
    first, second = block.gate[0], block.gate[2]

    def sigma(d: Tensor) -> Tensor:
        hidden = torch.relu(d @ first.weight.mT + first.bias)
        return torch.sigmoid(hidden @ second.weight.mT + second.bias)

    assert first.weight.shape == (24, 6)
    for t, y in enumerate(block(x).unbind(1)):
        one = sigma(means[:, t] - means[:, (t - 1) % T])
        two = sigma((means[:, t] - means[:, (t - 2) % T]) / 2)
        assert_close(y, (one + two)[:, :, None, None] / 2 * x[:, t])


@each_number_of_frames
@pytest.mark.parametrize("num_frames", [1, 2, 6, 8])  # kernels of 1, 2, 4 and 5 frames
def test_temporal_conv_is_its_formula(T: int, num_frames: int) -> None:
    block = unlike_at_first(TemporalConv(6, num_frames)).double()
    k = num_frames // 2 + 1
    x = videos(T).double()
    weight = block.conv.weight[..., 0]  # (C, C, k)
    assert weight.shape == (6, 6, k)
    for t, y in enumerate(block(x).unbind(1)):
        total = x[:, t]
        for s in range(k):
            frame = x[:, (t + s - (k - 1) // 2) % T]
            total = total + torch.einsum("dc,nchw->ndhw", weight[..., s], frame)
        assert_close(y, total.relu())


def test_a_temporal_conv_wakes_from_zero() -> None:
    block = TemporalConv(6, 8)
    assert not block.conv.weight.any()
    block(videos()).sum().backward()
    assert block.conv.weight.grad.abs().sum() > 0


@each_block
def test_blocks_take_any_layout(name: str) -> None:
    block = unlike_at_first(BLOCKS[name](6)).eval()
    x = videos()
    expected = block(x)
    assert expected.shape == x.shape
    assert_close(block(x.flatten(3)).view_as(x), expected)
    assert_close(block(x.unsqueeze(3)).view_as(x), expected)
    fast = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)  # frames channels last
    assert_close(block(fast), expected)
    same = zip(gradients(block, fast), gradients(block, x), strict=True)
    for a, b in same:
        assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert block(x[:0]).shape == x[:0].shape


@each_half
@each_block
def test_blocks_in_half(name: str, dtype: torch.dtype) -> None:
    block = unlike_at_first(BLOCKS[name](6))
    x = videos().to(dtype)
    expected = block(x.float())
    with torch.autocast("cpu", dtype=dtype):
        assert block(x.float()).dtype == torch.float32
        assert_close(block(x).float(), expected, rtol=0.1, atol=0.1)
    actual = copy.deepcopy(block).to(dtype)(x)
    assert actual.dtype == dtype
    assert_close(actual.float(), expected, rtol=0.1, atol=0.1)


def test_the_affinities_are_not_kept() -> None:
    block = TemporalSpatialAttention(4)
    sizes = []

    def pack(saved: Tensor) -> Tensor:
        sizes.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        block(torch.randn(1, 2, 4, 200))
    assert 0 < max(sizes) < 200 * 200


def test_a_second_derivative_of_the_attention_raises() -> None:
    block = unlike_at_first(TemporalSpatialAttention(6))
    x = videos().requires_grad_()
    (grad,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        torch.autograd.grad(grad.square().sum(), x)


def reduced(module: AttentiveTemporalCovPool, x: Tensor) -> Tensor:
    """Every frame with few channels, ``(N, T, c, M)``."""
    frames = [module.pool_reduction(module.attention_reduction(frame)) for frame in x.unbind(1)]
    return torch.stack(frames, 1)


@pytest.mark.parametrize("options", [{}, {"pool": MPACovPool, "vectorize": "isometric"}])
def test_one_frame_is_a_covariance_pooling(options: dict) -> None:
    module = unlike_at_first(pool(level="frame", **OFF, **options)).eval()
    x = videos(1)
    assert_close(module(x), module.pool(reduced(module, x)[:, 0]))


@each_number_of_frames
def test_levels_are_their_formulas(T: int) -> None:
    x = videos(T)
    module = unlike_at_first(pool(level="video", **OFF)).eval()
    together = torch.cat(list(reduced(module, x).unbind(1)), -1)
    assert_close(module(x), ISQRTCovPool(4)(together))
    module.level = "frame"
    vectors = [ISQRTCovPool(4)(z) for z in reduced(module, x).unbind(1)]
    assert_close(module(x), sum(vectors) / T)


def test_the_path_is_its_formula() -> None:
    module = unlike_at_first(pool()).eval()
    x = videos()
    h = torch.stack([module.attention_reduction(frame) for frame in x.unbind(1)], 1)
    h = module.channel_attention(module.spatial_attention(h))
    z = torch.stack([module.pool_reduction(frame) for frame in h.unbind(1)], 1)
    z = torch.cat(list(module.temporal_conv(z).unbind(1)), -1)
    assert_close(module(x), module.pool(z))


@each_number_of_frames
@each_level
def test_every_combination_trains(T: int, level: str, counted: Counted) -> None:
    for switches in product([True, False], repeat=3):
        module = unlike_at_first(pool(level=level, **dict(zip(OFF, switches, strict=True))))
        with counted(switches):
            assert module(videos(T)).shape == (2, module.out_features)
            grads = gradients(module, videos(T))
            assert all(torch.isfinite(grad).all() for grad in grads)
            for (name, _), grad in zip(module.named_parameters(), grads[1:], strict=True):
                assert grad.any() or (T == 1 and name == "channel_attention.gate.0.weight"), name


@each_level
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("switch", ["spatial_attention", "temporal_conv"])
def test_what_starts_at_zero_leaves_the_features_alone(
    level: str, training: bool, switch: str
) -> None:
    module = pool(level=level).train(training)
    without = pool(level=level, **{switch: False}).train(training)
    without.load_state_dict(module.state_dict(), strict=False)
    assert_close(module(videos()), without(videos()), rtol=0, atol=0)


@each_level
def test_only_the_temporal_parts_see_the_order_of_frames(level: str) -> None:
    x = videos()
    shuffled = x[:, [3, 0, 7, 1, 5, 2, 6, 4]]
    for switch in OFF:
        module = unlike_at_first(pool(level=level, **(OFF | {switch: True}))).eval()
        assert (module(x) - module(shuffled)).abs().max() > 1e-3
    module = unlike_at_first(pool(level=level, **OFF)).eval()
    assert_close(module(x), module(shuffled))


@each_level
@each_number_of_frames
def test_a_circular_shift_changes_nothing_without_spatial_attention(level: str, T: int) -> None:
    module = unlike_at_first(pool(level=level, spatial_attention=False)).eval()
    x = videos(T)
    assert_close(module(x.roll(2, 1)), module(x), rtol=1e-4, atol=1e-5)


@each_level
def test_empty_batches(level: str) -> None:
    module = pool(level=level)
    before = copy.deepcopy(module.state_dict())
    for mode in (True, False):
        assert module.train(mode)(videos(N=0)).shape == (0, module.out_features)
    for name, value in module.state_dict().items():
        assert "num_batches" in name or torch.equal(value, before[name])


def test_options_reach_their_parts() -> None:
    module = pool(pool=partial(CovPool, method="eigh"), vectorize="full", eps=0.1, shrinkage=0.2)
    assert module.out_features == 16
    assert (module.pool.method, module.pool.eps, module.pool.shrinkage) == (F.Eigh(), 0.1, 0.2)
    wide = AttentiveTemporalCovPool(300, 8, device="meta", dtype=torch.float64)
    assert wide.out_features == 128 * 129 // 2
    assert wide.attention_reduction[0].out_channels == 256
    for tensor in (*wide.parameters(), *wide.buffers()):
        assert tensor.is_meta
        assert tensor.dtype == torch.float64 or not tensor.is_floating_point()
    small = AttentiveTemporalCovPool(40, 8)
    assert small.out_features == 40 * 41 // 2


@each_block
def test_blocks_compile_for_any_number_of_frames(
    name: str, whole_graph: Callable[..., Any]
) -> None:
    block = unlike_at_first(BLOCKS[name](6)).eval()
    compiled = whole_graph(block, dynamic=True)
    for T in (8, 3):
        assert_close(compiled(videos(T)), block(videos(T)), rtol=1e-4, atol=1e-4)


@each_half
@each_level
def test_half_features_return_half(level: str, dtype: torch.dtype) -> None:
    module = unlike_at_first(pool(level=level))
    x = videos().to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        actual = module(x)
    assert actual.dtype == dtype
    assert_close(actual.float(), module(x.float()), rtol=0.1, atol=0.1)


def test_channels_last_frames_give_the_same() -> None:
    module = unlike_at_first(pool())
    x = videos()
    fast = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    same = zip(gradients(module, fast), gradients(module, x), strict=True)
    for a, b in same:
        assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_one_position_a_frame_is_enough_for_a_video_of_two() -> None:
    x = videos(2)[..., :1, :1]
    assert pool(level="video")(x).isfinite().all()
    with pytest.raises(F.InvalidValueError, match="level='frame'"):
        pool(level="frame")(x)
