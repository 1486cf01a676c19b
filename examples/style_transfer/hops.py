"""What both networks are made of: hops, by which the style comes in, and residual blocks."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from common.checks import choose, require
from covlayers import GroupWhiteningColoring


def adain(channels: int, num_groups: int, **options: str | None) -> GroupWhiteningColoring:
    """A hop of means and variances: every channel is a group, whatever ``num_groups`` is."""
    return GroupWhiteningColoring(channels, **options)


def whitening_coloring(
    channels: int, num_groups: int, **options: str | None
) -> GroupWhiteningColoring:
    """A hop of means and covariances within groups of channels."""
    require(channels % num_groups == 0, "num_groups", f"a divisor of {channels}", num_groups)
    return GroupWhiteningColoring(num_groups, **options)


TRANSFERS: dict[str, Callable[..., GroupWhiteningColoring]] = {
    "whitening_coloring": whitening_coloring,
    "adain": adain,
}


Hop = Callable[[int], GroupWhiteningColoring]
"""From a number of channels to a hop for features with these channels."""


def make_hop(transfer: str, num_groups: int, **options: str | None) -> Hop:
    """The hop of a network.

    Args:
        transfer: one of ``TRANSFERS``.
        num_groups: groups of channels.
        options: ``method`` and ``backward``.

    Raises:
        ValueError: if the name is unknown, or a number out of range.
    """
    build = choose("transfer", TRANSFERS, transfer)
    require(num_groups > 0, "num_groups", "positive", num_groups)
    return partial(build, num_groups=num_groups, **options)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions through fewer channels, added to their input; at first nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels // 4, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels // 4, 3, padding=1), nn.ReLU(inplace=True), last
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


def side_by_side(
    layer: Callable[[Tensor], Tensor], content: Tensor, style: Tensor
) -> tuple[Tensor, Tensor]:
    """A layer of both; in one pass where they have one shape."""
    if content.shape != style.shape:
        return layer(content), layer(style)
    return layer(torch.cat([content, style])).tensor_split(2)
