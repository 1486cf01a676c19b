"""Temporal-attentive covariance pooling as published, against its formulas."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers import AttentiveTemporalCovPool, TCPCovPool
from tests.built import features, unlike_at_first

C, WIDE, FEW, T, K = 6, 5, 4, 4, 3  # channels, after the first and second reduction; frames, kernel
CONVOLUTIONS = {
    "layer_reduce1": (WIDE, C, 1, 1),
    "layer_reduce2": (FEW, WIDE, 1, 1),
    "TCP_att.TCA.g1": (4 * FEW, FEW, 1, 1),
    "TCP_att.TCA.g2": (FEW, 4 * FEW, 1, 1),
    "TCP_att.conv_1d": (FEW, FEW, K, 1, 1),
    "TCP_att.TSA.conv_phi_1": (FEW, FEW, 1, 1),
    "TCP_att.TSA.conv_phi_2": (FEW, FEW, 1, 1),
    "TCP_att.TSA.conv_phi0": (FEW, FEW, 1, 1),
}
NORMS = {"layer_reduce_bn1": WIDE, "layer_reduce_bn2": FEW, "TCP_att.TSA.norm": FEW}


def published_state() -> dict[str, Tensor]:
    """What the authors' program would save: their names and shapes, random values."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64) / 2

    state = {}
    for name, shape in CONVOLUTIONS.items():
        state[f"{name}.weight"] = random(*shape)
        if "reduce" not in name:
            state[f"{name}.bias"] = random(shape[0])
    for name, size in NORMS.items():
        state |= {f"{name}.{leaf}": random(size) for leaf in ("weight", "bias", "running_mean")}
        state[f"{name}.running_var"] = 0.5 + random(size).square()
        state[f"{name}.num_batches_tracked"] = torch.tensor(3)
    return state


def loaded(**options: object) -> TCPCovPool:
    options = {"attention_channels": WIDE, "reduced_channels": FEW} | options
    module = TCPCovPool(C, T, dtype=torch.float64, **options)
    module.load_state_dict(published_state())
    return module


def clips(frames: int = T) -> Tensor:
    return features(2 * frames).double().unflatten(0, (2, frames)).flatten(3)  # (N, T, C, M)


def pointwise(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A 1x1 convolution of ``(..., C, M)``."""
    y = state[f"{name}.weight"].flatten(1) @ x
    return y + state[f"{name}.bias"][:, None] if f"{name}.bias" in state else y


def normalised(state: dict[str, Tensor], name: str, x: Tensor, training: bool) -> Tensor:
    mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    if training:
        mean, var = x.mean((0, 1, 3)), x.var((0, 1, 3), correction=0)
    unit = (x - mean[:, None]) / (var[:, None] + 1e-5).sqrt()
    return state[f"{name}.weight"][:, None] * unit + state[f"{name}.bias"][:, None]


def attended(state: dict[str, Tensor], z: Tensor, training: bool) -> Tensor:
    frames = []
    for t in range(z.shape[1]):
        a = pointwise(state, "TCP_att.TSA.conv_phi_1", z[:, max(t - 1, 0)])
        b = pointwise(state, "TCP_att.TSA.conv_phi_2", z[:, max(t - 2, 0)])
        affinity = torch.softmax(a.mT @ b / FEW**0.5, -1)
        frames.append(pointwise(state, "TCP_att.TSA.conv_phi0", z[:, t]) @ affinity.mT)
    return z + normalised(state, "TCP_att.TSA.norm", torch.stack(frames, 1), training)


def gates(state: dict[str, Tensor], z: Tensor) -> Tensor:
    g, total = z.mean(-1, keepdim=True), torch.zeros(())
    for lag in (1, 2):
        before = torch.stack([g[:, (t - lag) % z.shape[1]] for t in range(z.shape[1])], 1)
        hidden = pointwise(state, "TCP_att.TCA.g1", (g - before) / lag).clamp(min=0)
        total = total + 1 / (1 + torch.exp(-pointwise(state, "TCP_att.TCA.g2", hidden)))
    return total / 2


def convolved(state: dict[str, Tensor], y: Tensor) -> Tensor:
    weight, bias = state["TCP_att.conv_1d.weight"].flatten(2), state["TCP_att.conv_1d.bias"]
    frames = []
    for t in range(y.shape[1]):
        taps = (weight[..., s] @ y[:, (t + s - K // 2) % y.shape[1]] for s in range(K))
        frames.append(sum(taps) + bias[:, None])
    return torch.stack(frames, 1)


def root_vector(x: Tensor) -> Tensor:
    """The upper triangle of three Newton-Schulz steps for the covariance of ``(c, M)``."""
    A = torch.cov(x, correction=0)
    Y, Z, unit = A / A.trace(), torch.eye(FEW).double(), torch.eye(FEW).double()
    for _ in range(3):
        W = (3 * unit - Z @ Y) / 2
        Y, Z = Y @ W, W @ Z
    return torch.cat([(A.trace().sqrt() * Y)[i, i:] for i in range(FEW)])


def published(
    x: Tensor,
    training: bool = False,
    level: str = "video",
    spatial_attention: bool = True,
    channel_attention: bool = True,
    temporal_conv: bool = True,
) -> Tensor:
    state = published_state()
    for reduction in ("1", "2"):
        x = pointwise(state, f"layer_reduce{reduction}", x)
        x = normalised(state, f"layer_reduce_bn{reduction}", x, training).clamp(min=0)
    z = x
    y = attended(state, z, training) if spatial_attention else z
    y = gates(state, z) * y if channel_attention else y
    y = (z + convolved(state, y)).clamp(min=0) if temporal_conv else y
    if level == "frame":
        return torch.stack([sum(map(root_vector, frames)) / len(frames) for frames in y])
    return torch.stack([root_vector(torch.cat(list(frames), -1)) for frames in y])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 4, 7])
@pytest.mark.parametrize("level", ["video", "frame"])
def test_it_is_the_published_formula(level: str, frames: int, training: bool) -> None:
    x = clips(frames)
    module = loaded(level=level).train(training)
    # Measured: within 9e-16 of one plus the value.
    assert_close(module(x.unsqueeze(-1)), published(x, training, level), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("left_out", ["spatial_attention", "channel_attention", "temporal_conv"])
def test_a_part_may_be_left_out(left_out: str) -> None:
    module = TCPCovPool(C, T, attention_channels=WIDE, reduced_channels=FEW, **{left_out: False})
    module.double().load_state_dict(published_state(), strict=False)
    x = clips()
    expected = published(x, **{left_out: False})
    assert_close(module.eval()(x.unsqueeze(-1)), expected, rtol=1e-12, atol=1e-12)


def test_the_default_wiring_is_another() -> None:
    options = {"attention_channels": WIDE, "reduced_channels": FEW}
    assert TCPCovPool.forward is AttentiveTemporalCovPool.forward
    default = AttentiveTemporalCovPool(C, T, **options).state_dict()
    assert default["channel_attention.gate.0.weight"].shape == (4 * WIDE, WIDE)
    assert "temporal_conv.conv.bias" not in default


def test_the_parameters_are_as_many_as_published() -> None:
    reductions = 2048 * 256 + 2 * 256 + 256 * 128 + 2 * 128
    spatial = 3 * (128 * 128 + 128) + 2 * 128
    channel = 128 * 512 + 512 + 512 * 128 + 128
    conv = 5 * 128 * 128 + 128
    module = TCPCovPool(2048, 8, device="meta")
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == reductions + spatial + channel + conv == 821_376
    assert module.out_features == 128 * 129 // 2


def test_the_names_of_the_authors_load_inside_another_module() -> None:
    net = nn.Sequential(TCPCovPool(C, T, attention_channels=WIDE, reduced_channels=FEW).double())
    net.load_state_dict({f"0.{name}": value for name, value in published_state().items()})
    own = loaded()
    assert_close(net[0].state_dict(), own.state_dict(), rtol=0, atol=0)
    again = pickle.loads(pickle.dumps(copy.deepcopy(own)))
    again.load_state_dict(published_state())
    again.load_state_dict(own.state_dict())
    assert_close(again.state_dict(), own.state_dict(), rtol=0, atol=0)


def test_names_and_sizes_that_do_not_fit_are_named() -> None:
    state = published_state()
    state["TCP_att.conv_1d.weight"] = state["TCP_att.conv_1d.weight"][:, :, :1]
    state["layer_reduce3.weight"] = state.pop("layer_reduce1.weight")
    module = TCPCovPool(C, T, attention_channels=WIDE, reduced_channels=FEW)
    with pytest.raises(RuntimeError) as error:
        module.load_state_dict(state)
    for name in ("temporal_conv.conv", "layer_reduce3.weight", "attention_reduction.0.weight"):
        assert name in str(error.value)


def test_at_the_start_it_pools_the_reduced_features() -> None:
    x = clips().unsqueeze(-1).float()
    module = TCPCovPool(C, T)
    off = {"spatial_attention": False, "channel_attention": False, "temporal_conv": False}
    plain = TCPCovPool(C, T, **off)
    plain.load_state_dict(module.state_dict(), strict=False)
    assert_close(module(x), plain(x), rtol=0, atol=0)
    half = torch.full((2, T, C, 1, 1), 0.5)  # measured: within 5e-4
    assert_close(module.channel_attention.weights(x), half, atol=0.01, rtol=0)


def test_it_learns() -> None:
    torch.manual_seed(0)
    module = unlike_at_first(TCPCovPool(C, T))
    target = torch.randn(2, module.out_features)
    x = clips().unsqueeze(-1).float()
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-3)
    before = copy.deepcopy(dict(module.named_parameters()))
    losses = []
    for _ in range(5):
        loss = (module(x) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    # Softmax takes away the one bias, batch normalisation the other.
    idle = {"spatial_attention.key.bias", "spatial_attention.value.bias"}
    for name, parameter in module.named_parameters():
        assert torch.isfinite(parameter).all()
        assert name in idle or not torch.equal(parameter, before[name]), name
