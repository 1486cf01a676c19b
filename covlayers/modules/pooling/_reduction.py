"""The convolution that brings features to few channels before their covariance is taken."""

from typing import Unpack

from einops import rearrange
from torch import Tensor, nn

from covlayers.functional._base.checks import check_count
from covlayers.modules._factory import Factory, check_factory


class Reduction(nn.Sequential):
    r"""Other channels at every position: a 1x1 convolution, batch normalisation and ReLU.

    Args:
        in_channels: channels :math:`C` that come in.
        reduced_channels: channels :math:`c` that go out, of all heads together.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        - Input: :math:`(N, C, *)` with any spatial shape
        - Output: :math:`(N, c, M)`, with :math:`M` positions

    Raises:
        InvalidValueError: if a number of channels is not positive.
        InvalidTypeError: if one is not an int.
    """

    def __init__(self, in_channels: int, reduced_channels: int, **factory: Unpack[Factory]) -> None:
        check_count("in_channels", in_channels)
        check_count("reduced_channels", reduced_channels)
        check_factory(self, factory)
        conv = nn.Conv2d(in_channels, reduced_channels, 1, bias=False, **factory)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        norm = nn.BatchNorm2d(reduced_channels, **factory)
        super().__init__(conv, norm, nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Reduce ``(N, C, *)`` to ``(N, c, M)``."""
        rows = x.unsqueeze(-1) if x.dim() == 3 else x
        grid = rearrange(rows, "n c h ... -> n c h (...)")  # any spatial shape as two dimensions
        for layer in self:
            grid = layer(grid)
        return grid.flatten(2)
