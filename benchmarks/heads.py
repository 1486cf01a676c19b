"""Time and memory of a training step of the second-order heads, beside averages and plain eigh.

    python -m benchmarks.heads [--quick] [--device cpu|cuda|auto] [--min-time S] [--output FILE]

The papers have these sizes: the last stage of a ResNet reduced to 256 channels, the tokens of a
small vision transformer, the last stage of a ResNet-50 over the frames of a clip. ``relative`` is
the time over the time of the same head with torch.linalg.eigh, left to autograd.

See ``training_step.py`` for what is measured, and for the spread of the times.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.published import isqrt_cov, mpa
from benchmarks.published_layers import TextbookPool
from benchmarks.training_step import Group, command
from covlayers import functional as F

FEATURES = (32, 256, 14, 14)
TOKENS = (64, 1 + 196, 384)
CLIPS = (8, 8, 2048, 7, 7)
CLASSES = 100
BASELINE = "eigh + autograd"
PLAIN: dict[str, Any] = {"method": F.Eigh(), "backward": F.Autograd()}


class Average(nn.Module):
    """Global average pooling over positions, or over frames and positions."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.first).mean(-1)


class FrameAverage(nn.Module):
    """The mean over frames and positions, of the channels reduced as in the head beside it."""

    def __init__(self, channels: int, reduced_channels: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(channels, reduced_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.reduction(x.flatten(0, 1)).mean((-2, -1)).unflatten(0, x.shape[:2]).mean(1)


class ClassToken(nn.Module):
    """The ordinary head of a vision transformer."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(embed_dim, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.classifier(tokens[:, 0])


def features(channels: int) -> dict[str, nn.Module]:
    """Poolings of one feature map per image."""
    return {
        BASELINE: cl.CovPool(channels, **PLAIN),
        "average": Average(2),
        "textbook iSQRT-COV": TextbookPool(isqrt_cov),
        "textbook MPA": TextbookPool(mpa),
        "CovPool": cl.CovPool(channels),
        "CovPool log": cl.CovPool(channels, function="log"),
        "CovPool mean_weight=1": cl.CovPool(channels, mean_weight=1.0),
        "CovPool SVPowerNorm": cl.CovPool(channels, function=cl.SVPowerNorm()),
        "MPNCovPool": cl.MPNCovPool(channels),
        "ISQRTCovPool": cl.ISQRTCovPool(channels),
        "MTPCovPool": cl.MTPCovPool(channels),
        "MPACovPool": cl.MPACovPool(channels),
        "CrossCovPool 32, 8 heads": cl.CrossCovPool(channels, 32, 8),
        "CovAttention": cl.CovAttention(channels),
    }


def tokens(embed_dim: int) -> dict[str, nn.Module]:
    """Heads of a vision transformer."""

    def head(pool: Callable[..., nn.Module], **options: Any) -> nn.Module:
        return cl.SecondOrderHead(embed_dim, CLASSES, pool=pool, fusion="late", **options)

    def exact(channels: int, **options: Any) -> nn.Module:
        return cl.CrossCovPool(channels, norm=cl.SVPowerNorm(num_values=None), **options)

    return {
        BASELINE: head(cl.CovPool, reduced_channels=48, **PLAIN),
        "class token": ClassToken(embed_dim),
        "CovPool 48": head(cl.CovPool, reduced_channels=48),
        "MPNCovPool 48": head(cl.MPNCovPool, reduced_channels=48),
        "ISQRTCovPool 48": head(cl.ISQRTCovPool, reduced_channels=48),
        "MPACovPool 48": head(cl.MPACovPool, reduced_channels=48),
        "CrossCovPool 14, 6 heads": head(cl.CrossCovPool, reduced_channels=14, num_heads=6),
        "CrossCovPool 14, 6 heads, exact": head(exact, reduced_channels=14, num_heads=6),
    }


def clips(channels: int, frames: int) -> dict[str, nn.Module]:
    """Heads of a video network."""

    def head(**options: Any) -> nn.Module:
        return cl.AttentiveTemporalCovPool(channels, frames, **options)

    return {
        BASELINE: head(pool=cl.CovPool, **PLAIN),
        "average": Average(3),
        "average of 128 channels": FrameAverage(channels, 128),
        "video level, ISQRTCovPool": head(),
        "video level, MPACovPool": head(pool=cl.MPACovPool),
        "frame level, ISQRTCovPool": head(level="frame"),
        "frame level, eigh + autograd": head(level="frame", pool=cl.CovPool, **PLAIN),
    }


def groups(device: str, quick: bool) -> Iterator[Group]:
    """Feature maps, tokens, clips; the first only if quick."""
    cases = (
        ("features", FEATURES, features, FEATURES[1:2]),
        ("tokens", TOKENS, tokens, TOKENS[2:]),
        ("clips", CLIPS, clips, (CLIPS[2], CLIPS[1])),
    )
    for title, shape, heads, sizes in cases[:1] if quick else cases:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(shape, generator=generator).to(device)
        modules = {name: module.to(device) for name, module in heads(*sizes).items()}
        yield Group(f"{title} {shape}", x, modules, {"group": title})


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print group by group, write."""
    command("heads.py", __doc__, groups, BASELINE, arguments=arguments)


if __name__ == "__main__":
    main()
