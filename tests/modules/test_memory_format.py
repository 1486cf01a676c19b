"""Norms give tensors and gradients the strides that the BatchNorm of PyTorch gives them."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import covlayers as cl
from tests.counted import Counted

C = 6
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "one group": cl.DecorrelatedBatchNorm,
    "groups": lambda channels: cl.DecorrelatedBatchNorm(channels, num_groups=max(channels // 2, 1)),
    "a group each": lambda channels: cl.DecorrelatedBatchNorm(channels, num_groups=channels),
    "Cholesky": lambda channels: cl.DecorrelatedBatchNorm(channels, kind="cholesky"),
    "IterNorm": cl.IterNorm,
    "PCANorm": lambda channels: cl.PCANorm(channels, 1),
    "GroupWhitening": lambda channels: cl.GroupWhitening(channels, num_groups=1),
    "SwitchableWhitening": cl.SwitchableWhitening,
}
BATCHNORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
SHAPES = [
    *[(4, C, 3, 5), (4, C, 20, 20), (1, C, 3, 5), (4, C, 1, 5), (4, C, 5, 1), (4, C, 1, 1)],
    *[(4, 1, 3, 5), (1, C, 20, 20), (4, C), (4, C, 7), (4, C, 1), (2, C, 2, 3, 4), (2, C, 1, 1, 1)],
]


def layouts(shape: tuple[int, ...]) -> Iterator[tuple[str, Tensor]]:
    x = torch.randn(shape)
    yield "contiguous", x
    yield "every second position", torch.randn(*shape[:-1], 2 * shape[-1])[..., ::2]
    yield "transposed", x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if len(shape) > 3:
        last = {4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)]
        yield "channels last", x.contiguous(memory_format=last)


def strides(norm: nn.Module, x: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The strides of the output and of the gradient."""
    y = norm(x.requires_grad_())
    (grad,) = torch.autograd.grad(y, x, torch.ones_like(y))
    return y.stride(), grad.stride()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NORMS)
@pytest.mark.filterwarnings("ignore:.*positions for the covariance")
def test_strides_of_batchnorm(name: str, training: bool, counted: Counted) -> None:
    for shape in SHAPES:
        if name == "SwitchableWhitening" and shape[2:].count(1) == len(shape[2:]):
            continue  # its own statistics need two positions of each sample
        for layout, x in layouts(shape):
            norm, plain = NORMS[name](shape[1]), BATCHNORMS[x.dim()](shape[1])
            with counted(shape, layout):
                assert strides(norm.train(training), x) == strides(plain.train(training), x)


@pytest.mark.parametrize("name", NORMS)
def test_every_layer_of_a_network_keeps_channels_last(name: str) -> None:
    """Where one did not, all behind it would change the format once more."""
    model = nn.Sequential(
        *[nn.Sequential(nn.Conv2d(C, C, 3, padding=1), NORMS[name](C), nn.ReLU()) for _ in range(3)]
    ).to(memory_format=torch.channels_last)
    x = torch.randn(4, C, 6, 5).to(memory_format=torch.channels_last)
    for layer in model:
        x = layer(x)
        assert x.is_contiguous(memory_format=torch.channels_last)
