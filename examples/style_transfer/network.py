"""The network: content and style side by side, with hops from the style to the content.

An encoder takes both pictures to features, and a decoder with residual blocks takes them back. A
hop before the first block and one after each gives the content's features the statistics that the
style's have at the same depth; the style passes as it is. What has those statistics already is not
changed by a hop, so encoder and decoder by themselves are an autoencoder, and the style that comes
out is its reconstruction.
"""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn

from common.checks import choose, require
from covlayers import GroupWhiteningColoring
from vgg import VGG19

Ends = tuple[nn.Sequential, nn.Sequential, int]
"""An encoder, a decoder, and the number of channels between them."""

LOW = torch.tensor([1 + 3**0.5, 3 + 3**0.5, 3 - 3**0.5, 1 - 3**0.5]) / 32**0.5
HIGH = LOW.flip(0) * torch.tensor([1.0, -1.0, 1.0, -1.0])

GREY = 0.5
"""The pixel that is nothing to encoder and decoder before they are trained."""


def with_negative(x: Tensor, dim: int) -> Tensor:
    """Every slice of a dimension, followed by its negative."""
    return torch.stack([x, -x], dim + 1).flatten(dim, dim + 1)


def orthogonal_filters(count: int, channels: int) -> Tensor:
    """Filters :math:`(d, c, 4, 4)` drawn at random, orthogonal to each other two pixels apart.

    They mix the bands of the Daubechies wavelet of four taps, whose supports overlap: without that
    the borders of patches would be seen.
    """
    bands = torch.stack([torch.outer(a, b) for a, b in product((LOW, HIGH), repeat=2)])
    mixed = nn.init.orthogonal_(torch.empty(count, 4 * channels)).view(count, channels, 4)
    return torch.einsum("dcb,bhw->dchw", mixed, bands.to(mixed.device))


def down(c: int, d: int) -> nn.Conv2d:
    """A convolution to half of the resolution, and one pixel more on every side."""
    return nn.Conv2d(c, d, 4, 2, 3, padding_mode="reflect")


def up(c: int, d: int) -> nn.ConvTranspose2d:
    """The way back."""
    return nn.ConvTranspose2d(c, d, 4, 2, 3)


def small(width: int) -> Ends:
    """Two convolutions down to a quarter of the resolution and 4 ``width`` channels, and two up.

    They start with filters that come with their negatives, so that the ReLU between them loses
    nothing, the looks-linear start (Balduzzi et al., ICML 2017), and up as the transpose of down.
    With a width of 24 or more that is the identity.
    """
    require(width > 0 and width % 2 == 0, "width", "positive and even", width)
    channels = 4 * width
    first, second = down(3, width), down(width, channels)
    third, fourth = up(channels, width), up(width, 3)
    outer = with_negative(orthogonal_filters(width // 2, 3), 0)
    inner = with_negative(with_negative(orthogonal_filters(channels // 2, width // 2), 0), 1)
    starts = {first: outer, second: inner, third: inner, fourth: outer}
    with torch.no_grad():
        for conv, weight in starts.items():
            conv.weight.copy_(weight)
            conv.bias.zero_()
        first.bias -= GREY * outer.sum((1, 2, 3))
        fourth.bias += GREY
    encoder = nn.Sequential(first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True))
    return encoder, nn.Sequential(third, nn.ReLU(inplace=True), fourth), channels


def vgg19(width: int) -> Ends:
    """VGG-19 up to ``relu4_1``, which does not learn, and its mirror image, which does.

    The argument is that of its small sibling; there is nothing here that it changes.
    """
    encoder = VGG19()
    layers: list[nn.Module] = []
    for layer in reversed(encoder):
        if isinstance(layer, nn.MaxPool2d):
            layers.append(nn.Upsample(scale_factor=2))
        if isinstance(layer, nn.Conv2d):
            conv = nn.Conv2d(layer.out_channels, layer.in_channels, 3, 1, 1, padding_mode="reflect")
            layers += [conv, nn.ReLU(inplace=True)]
    decoder = nn.Sequential(*layers[:-1])
    nn.init.constant_(decoder[-1].bias, GREY)
    return encoder, decoder, encoder[-2].out_channels


ENCODERS: dict[str, Callable[[int], Ends]] = {"small": small, "vgg19": vgg19}


def adain(channels: int, num_groups: int, **options: str | None) -> GroupWhiteningColoring:
    """A hop of means and variances: every channel is a group, whatever ``num_groups`` is."""
    return GroupWhiteningColoring(channels, **options)


def whitening_coloring(
    channels: int, num_groups: int, **options: str | None
) -> GroupWhiteningColoring:
    """A hop of means and covariances within groups of channels."""
    divides = num_groups > 0 and channels % num_groups == 0
    require(divides, "num_groups", f"a divisor of {channels}", num_groups)
    return GroupWhiteningColoring(num_groups, **options)


TRANSFERS: dict[str, Callable[..., GroupWhiteningColoring]] = {
    "whitening_coloring": whitening_coloring,
    "adain": adain,
}


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions through half of the channels, added to their input; at first nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels // 2, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels // 2, 3, padding=1), nn.ReLU(inplace=True), last
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)


class StyleNetwork(nn.Module):
    """An autoencoder with hops in its decoder.

    Args:
        encoder: one of ``ENCODERS``.
        transfer: one of ``TRANSFERS``.
        width: a quarter of the channels of the small encoder.
        num_blocks: residual blocks; there is one hop more.
        num_groups: groups of channels of every hop.
        options: further ones of every hop: ``method`` and ``backward``.

    Shape:
        - content: :math:`(N, 3, H, W)` in [0, 1], sides multiples of 8
        - style: :math:`(N, 3, H', W')`
        - Output: the content in the style's style, and the style itself

    Raises:
        ValueError: if a name is not in its table, or a number is out of range.
    """

    def __init__(
        self,
        encoder: str,
        transfer: str,
        width: int,
        num_blocks: int,
        num_groups: int,
        **options: str | None,
    ) -> None:
        super().__init__()
        require(num_blocks >= 0, "num_blocks", "0 or more", num_blocks)
        build = choose("transfer", TRANSFERS, transfer)
        self.encoder, self.decoder, channels = choose("encoder", ENCODERS, encoder)(width)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in range(num_blocks))
        self.hops = nn.ModuleList(
            build(channels, num_groups, **options) for _ in range(num_blocks + 1)
        )

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        x, s = self.encoder(content), self.encoder(style)
        x = self.hops[0](x, s)
        for block, hop in zip(self.blocks, self.hops[1:], strict=True):
            x, s = block(x), block(s)
            x = hop(x, s)
        return self.decoder(x).clamp(0, 1), self.decoder(s).clamp(0, 1)
