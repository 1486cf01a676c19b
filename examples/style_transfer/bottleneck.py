"""The network on VGG-19: its features as a bottleneck, with a hop before the blocks and after each.

As in :mod:`network`, content and style run side by side, and the style that comes out is its
reconstruction.
"""

from torch import Tensor, nn

from hops import Hop, ResidualBlock, side_by_side
from vgg import VGG19

GREY = 0.5
"""The pixel that an untrained decoder gives."""


def mirrored(encoder: VGG19) -> nn.Sequential:
    """A decoder with the encoder's layers in reverse, which learns."""
    layers: list[nn.Module] = []
    for layer in reversed(encoder):
        if isinstance(layer, nn.MaxPool2d):
            layers.append(nn.Upsample(scale_factor=2))
        if isinstance(layer, nn.Conv2d):
            conv = nn.Conv2d(layer.out_channels, layer.in_channels, 3, 1, 1, padding_mode="reflect")
            layers += [conv, nn.ReLU(inplace=True)]
    decoder = nn.Sequential(*layers[:-1])
    nn.init.constant_(decoder[-1].bias, GREY)
    return decoder


class VGGBottleneck(nn.Module):
    """VGG-19 up to ``relu4_1``, which does not learn, residual blocks, and its mirror image.

    Args:
        hop: makes a hop.
        num_hops: one more than there are blocks.
        pyramid: accepted and ignored: there is one scale, and VGG-19 has its own filters.

    Shape:
        - content: :math:`(N, 3, H, W)` in [0, 1], sides multiples of 8
        - style: :math:`(N, 3, H', W')`
        - Output: the content in the style's style, and the style itself
    """

    def __init__(self, hop: Hop, num_hops: int, **pyramid: int) -> None:
        super().__init__()
        self.encode = VGG19()
        self.decode = mirrored(self.encode)
        channels = self.encode[-2].out_channels
        self.hops = nn.ModuleList(hop(channels) for _ in range(num_hops))
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in self.hops[1:])

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        x, s = side_by_side(self.encode, content, style)
        x = self.hops[0](x, s)
        for block, hop in zip(self.blocks, self.hops[1:], strict=True):
            x, s = side_by_side(block, x, s)
            x = hop(x, s)
        x, s = side_by_side(self.decode, x, s)
        return x.clamp(0, 1), s.clamp(0, 1)
