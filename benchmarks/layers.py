"""Time of a training step, and memory kept for it, of the normalisation layers and their peers.

    python benchmarks/layers.py [--device cpu|cuda|auto] [--min-time S] [--output FILE]

A step is one forward and one backward pass. ``relative`` is the time over that of a textbook
whitening of the same features: transpose, centre, five Newton-Schulz steps, all left to autograd.

See ``training_step.py`` for what is measured, and for the spread of the times.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import torch
from measure import Row
from torch import Tensor, nn
from training_step import Group, command

import covlayers as cl
from covlayers import functional as F

SHAPES = ((64, 64, 32, 32), (64, 256, 8, 8))
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
GROUP_SIZE = 64
EPS = 1e-5
BASELINE = "textbook"


class Textbook(nn.Module):
    """Whitening as one writes it by hand: every step in the graph, every copy kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        channels_first = x.transpose(0, 1).contiguous()
        rows = channels_first.view(-1, GROUP_SIZE, x.numel() // x.shape[1])
        centred = rows - rows.mean(-1, keepdim=True)
        identity = torch.eye(GROUP_SIZE, device=x.device)
        cov = centred @ centred.mT / centred.shape[-1] + EPS * identity
        trace = cov.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
        P, normed = identity, cov / trace
        for _ in range(5):
            P = 1.5 * P - 0.5 * P @ P @ P @ normed
        white = (P / trace.sqrt() @ centred).view_as(channels_first).transpose(0, 1).contiguous()
        return white * self.weight + self.bias


def layers(channels: int) -> dict[str, nn.Module]:
    """What is measured, by name."""
    whitening = partial(cl.DecorrelatedBatchNorm, channels, channels // GROUP_SIZE, EPS)
    return {
        BASELINE: Textbook(channels),
        "torch.nn.BatchNorm2d": nn.BatchNorm2d(channels),
        "DecorrelatedBatchNorm": whitening(),
        "DecorrelatedBatchNorm cholesky": whitening(kind="cholesky"),
        "DecorrelatedBatchNorm polar_express": whitening(method="polar_express"),
        "DecorrelatedBatchNorm MPA": whitening(method=F.Pade(5), backward=F.Lyapunov(8)),
        "IterNorm": cl.IterNorm(channels, channels // GROUP_SIZE, EPS),
        "PCANorm": cl.PCANorm(channels, channels // 4),
        "GroupWhitening": cl.GroupWhitening(channels, 16),
        "SwitchableWhitening": cl.SwitchableWhitening(channels, channels // 16),
    }


def features(shape: Sequence[int], memory_format: str, device: str) -> Tensor:
    """Channels mixed at random, the same on every device."""
    generator = torch.Generator().manual_seed(0)
    channels = shape[1]
    mix = torch.randn(channels, channels, generator=generator) / channels**0.5
    x = torch.randn(shape, generator=generator)
    x = torch.einsum("dc,nchw->ndhw", mix + torch.eye(channels), x)
    return x.to(device).contiguous(memory_format=FORMATS[memory_format])


def whiteness(y: Tensor) -> Row:
    """The largest entry of the covariance of the first group, less the identity."""
    rows = y.detach().cpu().double().transpose(0, 1).flatten(1)[:GROUP_SIZE]
    cov = torch.cov(rows, correction=0)
    return {"whiteness": float((cov - torch.eye(GROUP_SIZE)).abs().max())}


def groups(device: str) -> Iterator[Group]:
    """Each shape in each memory format."""
    for shape, memory_format in product(SHAPES, FORMATS):
        yield Group(
            f"{tuple(shape)}, {memory_format}",
            features(shape, memory_format, device),
            {name: layer.to(device) for name, layer in layers(shape[1]).items()},
            {"memory_format": memory_format},
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print group by group, write."""
    command(
        "layers.py",
        __doc__,
        groups,
        BASELINE,
        arguments=arguments,
        metadata={"group_size": GROUP_SIZE, "eps": EPS},
        figures=lambda layer, x: whiteness(layer(x)),
        extra={"whiteness": ".0e"},
    )


if __name__ == "__main__":
    main()
