"""The network of the default recipe: from coarse to fine, with a hop at every scale.

Content and style run side by side. A hop gives the content's features the statistics that the
style's have at the same place; the style passes as it is. What has those statistics already is not
changed by a hop, so the network without them is an autoencoder, and the style that comes out is
its reconstruction.
"""

import torch
from torch import Tensor, nn

from common.checks import require
from hops import Hop, ResidualBlock, side_by_side
from pyramid import band, enlarge, pyramid


def analysis(size: int) -> nn.Conv2d:
    """Filters of a side of ``size`` pixels, at every pixel that they touch.

    They start as random orthogonal ones, each beside its negative, so that a ReLU loses nothing:
    the looks-linear start (Balduzzi et al., ICML 2017).
    """
    channels = 6 * size**2
    conv = nn.Conv2d(3, channels, size, padding=size - 1, padding_mode="replicate")
    filters = nn.init.orthogonal_(torch.empty(channels // 2, channels // 2))
    with torch.no_grad():
        conv.weight.copy_(torch.stack([filters, -filters], 1).view_as(conv.weight) / size)
        conv.bias.zero_()
    return conv


def synthesis(conv: nn.Conv2d) -> nn.ConvTranspose2d:
    """The way back, at first the inverse: the mean over all filters that touch a pixel."""
    size = conv.kernel_size[0]
    back = nn.ConvTranspose2d(conv.out_channels, 3, size, padding=size - 1)
    with torch.no_grad():
        back.weight.copy_(conv.weight)
        back.bias.zero_()
    return back


class Pyramid(nn.Module):
    """An autoencoder over a Laplacian pyramid.

    From the coarsest scale to the finest a picture is analysed by filters and a ReLU, takes a hop
    and a residual block, and is put together again, once or several times with other filters; then
    it is enlarged, and the next band of the content added.

    Args:
        hop: makes a hop.
        num_hops: hops at each scale.
        num_scales: scales, each half as large as the one before.
        filter_size: side of the filters, in pixels; there are six times its square.

    Shape:
        - content: :math:`(N, 3, H, W)` in [0, 1]
        - style: :math:`(N, 3, H', W')`
        - Output: the content in the style's style, and the style itself

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(self, hop: Hop, num_hops: int, num_scales: int, filter_size: int) -> None:
        super().__init__()
        require(num_scales > 0, "num_scales", "positive", num_scales)
        require(filter_size > 1, "filter_size", "2 or more", filter_size)
        channels = 6 * filter_size**2
        self.num_scales, self.hops_per_scale = num_scales, num_hops
        self.hops = nn.ModuleList(hop(channels) for _ in range(num_scales * num_hops))
        self.analyses = nn.ModuleList(analysis(filter_size) for _ in self.hops)
        self.blocks = nn.ModuleList(ResidualBlock(channels) for _ in self.hops)
        self.syntheses = nn.ModuleList(synthesis(conv) for conv in self.analyses)

    def encode(self, x: Tensor) -> Tensor:
        """The features of a picture at its finest scale."""
        return self.analyses[-1](x).relu()

    def forward(self, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        coarsest = self.num_scales - 1
        ours, theirs = pyramid(content, coarsest), pyramid(style, coarsest)
        x, s = ours[-1], theirs[-1]
        layers = zip(self.analyses, self.hops, self.blocks, self.syntheses, strict=True)
        for number, (analyse, hop, block, synthesise) in enumerate(layers):
            scale, again = divmod(number, self.hops_per_scale)
            if scale and not again:
                level = coarsest - scale
                x = enlarge(x, ours[level]) + band(ours, level)
                s = enlarge(s, theirs[level]) + band(theirs, level)
            f, g = (features.relu() for features in side_by_side(analyse, x, s))
            f, g = side_by_side(block, hop(f, g), g)
            x, s = side_by_side(synthesise, f, g)
        return x.clamp(0, 1), s.clamp(0, 1)
