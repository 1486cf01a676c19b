"""Time of a training step, and memory kept for it, of the normalisation layers and their peers.

    python -m benchmarks.layers [--quick] [--device cpu|cuda|auto] [--min-time S] [--output FILE]

A step is one forward and one backward pass. ``relative`` is the time over the time of a textbook
whitening of the same features: transpose, centre, five Newton-Schulz steps, all left to autograd.
``its four products`` (``floor.py``) are what no whitening of these groups can do without.

See ``training_step.py`` for what is measured, and for the spread of the times.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.floor import FourProducts, four_products
from benchmarks.measure import Row
from benchmarks.published_layers import TextbookIterNorm
from benchmarks.training_step import Group, command
from covlayers import functional as F

# The shape of the features, and the channels of a group.
CASES = (
    ((64, 64, 32, 32), 64),
    ((32, 256, 14, 14), 256),
    ((32, 256, 14, 14), 64),
    ((64, 256, 8, 8), 64),
)
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
EPS = 1e-5
BASELINE = "textbook"
FLOOR = "its four products"
FLOOR_S = 0.2


def layers(channels: int, group_size: int) -> dict[str, nn.Module]:
    """What is measured, by name."""
    num_groups = channels // group_size
    whitening = partial(cl.DecorrelatedBatchNorm, channels, num_groups, EPS)
    return {
        BASELINE: TextbookIterNorm(channels, group_size, EPS),
        "torch.nn.BatchNorm2d": nn.BatchNorm2d(channels),
        "DecorrelatedBatchNorm": whitening(),
        "DecorrelatedBatchNorm cholesky": whitening(kind="cholesky"),
        "DecorrelatedBatchNorm polar_express": whitening(method="polar_express"),
        "DecorrelatedBatchNorm MPA": whitening(method=F.Pade(5), backward=F.Lyapunov(8)),
        "IterNorm": cl.IterNorm(channels, num_groups, EPS),
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


def whiteness(group_size: int, layer: nn.Module, x: Tensor) -> Row:
    """The largest entry of the covariance of the first group, less the identity."""
    if isinstance(layer, FourProducts):
        return {"whiteness": None}
    rows = layer(x).detach().cpu().double().transpose(0, 1).flatten(1)[:group_size]
    cov = torch.cov(rows, correction=0)
    return {"whiteness": float((cov - torch.eye(group_size)).abs().max())}


def groups(device: str, quick: bool) -> Iterator[Group]:
    """Each shape and size of group in each memory format; the first two contiguous if quick."""
    cases = product(CASES[:2], ["contiguous"]) if quick else product(CASES, FORMATS)
    for (shape, group_size), memory_format in cases:
        x = features(shape, memory_format, device)
        modules = {name: layer.to(device) for name, layer in layers(shape[1], group_size).items()}
        yield Group(
            f"{shape}, {group_size} a group, {memory_format}",
            x,
            modules | {FLOOR: four_products(x, group_size, FLOOR_S)},
            {"memory_format": memory_format, "group_size": group_size},
            partial(whiteness, group_size),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print group by group, write."""
    command(
        "layers.py",
        __doc__,
        groups,
        BASELINE,
        arguments=arguments,
        metadata={"eps": EPS},
        extra={"whiteness": ".0e"},
    )


if __name__ == "__main__":
    main()
