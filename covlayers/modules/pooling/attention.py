"""Attention by second-order statistics, within a network."""

from typing import Unpack

from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional._base.checks import check_at_most, check_count, check_flag
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import check_channels, check_positions, check_tensor
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules.pooling._reduction import Reduction


class CovAttention(nn.Module):
    r"""Weights for channels and positions by their covariances (GSoP).

    .. math:: y = \tfrac12 (u\, x + v\, x), \qquad
              u = \rho_C(\Sigma) \in \mathbb{R}^C, \quad
              v = \rho_P(\Omega) \in \mathbb{R}^{H \times W},

    the mean of the two rescaled inputs, or the one that is asked for. Two reductions of the input
    to :math:`c` channels, each a 1x1 convolution without bias, batch normalisation and ReLU, give

    - :math:`\Sigma \in \mathbb{R}^{c \times c}`, the covariance of channels over positions;
    - :math:`\Omega \in \mathbb{R}^{P \times P}`, the covariance of positions over channels, on a
      grid of :math:`P` = ``grid_size``\ :sup:`2` means.

    In :math:`\rho`, batch normalisation, a convolution of its own for each row (:math:`4n` outputs
    for :math:`n` rows), LeakyReLU, a 1x1 convolution and a sigmoid follow each other; the weights
    of the positions are then interpolated from the grid, bilinearly.

    The convolutions fix :math:`P`, so every input is pooled to the whole grid; on one with fewer
    rows or columns than ``grid_size`` neighbouring means share positions, and a smaller grid does
    as well for less.

    Args:
        channels: channels :math:`C \ge 1`.
        reduced_channels: channels :math:`c`, at most ``channels``, at least two with ``position``;
            None for 128, or for ``channels`` if that is less.
        channel: whether to weigh channels.
        position: whether to weigh positions.
        grid_size: rows and columns of the grid of positions, at least 1.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        - Input: :math:`(N, C, H, W)`, contiguous or channels last
        - Output: :math:`(N, C, H, W)`, in the memory format of the input

    Raises:
        InvalidValueError: for an option out of range, or neither ``channel`` nor ``position``, when
            the module is built; for an input of other than four dimensions, with other channels or
            fewer than two positions.
        InvalidTypeError: for a number of a wrong type, or an input that is not real floating.

    Example:
        >>> CovAttention(64, 32)(torch.randn(2, 64, 14, 14)).shape
        torch.Size([2, 64, 14, 14])

    Reference:
        :cite:t:`gao2019global`.
    """

    def __init__(
        self,
        channels: int,
        reduced_channels: int | None = None,
        *,
        channel: bool = True,
        position: bool = True,
        grid_size: int = 8,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        check_factory(self, factory)
        check_count("channels", channels)
        check_flag("channel", channel)
        check_flag("position", position)
        c = min(128, channels) if reduced_channels is None else reduced_channels
        check_count("reduced_channels", c, 2 if position else 1)
        check_at_most("reduced_channels", c, "channels", channels)
        check_count("grid_size", grid_size)
        if not (channel or position):
            raise InvalidValueError(
                "channel or position must be True, got False for both; nothing would be weighed."
            )
        self.channels = channels
        self.parts = nn.ModuleDict()
        if channel:
            self.parts["channel"] = _ChannelWeights(channels, c, **factory)
        if position:
            self.parts["position"] = _PositionWeights(channels, c, grid_size, **factory)

    def forward(self, x: Tensor) -> Tensor:
        """Rescale ``(N, C, H, W)``."""
        check_tensor("x", x, 0)
        if x.dim() != 4:
            raise InvalidValueError(
                f"x must have 4 dimensions, (N, C, H, W), got shape {tuple(x.shape)}; "
                "one image is x[None]."
            )
        check_channels("x", x, "channels", self.channels)
        check_positions("x", x, 2, first=2)
        first, *others = (part(x) / len(self.parts) for part in self.parts.values())
        return sum((x * weight for weight in others), x * first)

    def extra_repr(self) -> str:
        """What the parts do not show themselves."""
        return f"{self.channels}"


class _ChannelWeights(nn.Module):
    """A weight for each channel, ``(N, C, 1, 1)``."""

    def __init__(
        self,
        channels: int,
        reduced_channels: int,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.reduction = Reduction(channels, reduced_channels, **factory)
        self.rows = _row_weights(reduced_channels, channels, **factory)

    def forward(self, x: Tensor) -> Tensor:
        return self.rows(F.covariance(self.reduction(x)).unsqueeze(2))


class _PositionWeights(nn.Module):
    """A weight for each position, ``(N, 1, H, W)``."""

    def __init__(
        self,
        channels: int,
        reduced_channels: int,
        grid_size: int,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        self.reduction = Reduction(channels, reduced_channels, **factory)
        self.grid = nn.AdaptiveAvgPool2d(grid_size)
        self.rows = _row_weights(grid_size**2, grid_size**2, **factory)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        z = self.grid(self.reduction(x).unflatten(2, size))  # (N, c, g, g)
        weights = self.rows(F.covariance(z.flatten(2).mT).unsqueeze(2))  # (N, P, 1, 1)
        grid = weights.view(-1, 1, *z.shape[2:])
        return nn.functional.interpolate(grid, size, mode="bilinear")


def _row_weights(n: int, out_channels: int, **factory: Unpack[Factory]) -> nn.Sequential:
    """From the rows of a matrix, as channels ``(N, n, 1, n)``, to ``(N, out_channels, 1, 1)``."""
    return nn.Sequential(
        nn.BatchNorm2d(n, **factory),
        nn.Conv2d(n, 4 * n, (1, n), groups=n, **factory),
        nn.LeakyReLU(inplace=True),
        nn.Conv2d(4 * n, out_channels, 1, **factory),
        nn.Sigmoid(),
    )
