"""Global cross-covariance pooling."""

from typing import Unpack

from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional._base.checks import check_at_most, check_count
from covlayers.functional._base.errors import InvalidTypeError
from covlayers.functional._base.tensors import (
    check_channels,
    check_positions,
    check_tensor,
    full_precision,
)
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules.pooling._reduction import Reduction
from covlayers.modules.pooling.power_norm import SVPowerNorm


class CrossCovPool(nn.Module):
    r"""Multi-head global cross-covariance pooling (MGCrP).

    Each head :math:`h` reduces the features in two ways, to :math:`X_h \in \mathbb{R}^{p \times M}`
    and :math:`Y_h \in \mathbb{R}^{q \times M}` (1x1 convolution without bias, batch normalisation,
    ReLU), and returns the entries, row by row, of their normalised cross covariance

    .. math:: Z_h = \operatorname{norm}\bigl( \tfrac1M (X_h - \mu_X)(Y_h - \mu_Y)^\top \bigr) .

    The heads run together: one reduction makes all :math:`X_h`, one all :math:`Y_h`.

    Half features compute in float32 from the covariance on, under autocast too, and the result has
    the features' dtype.

    Args:
        in_channels: channels :math:`C \ge 1` of the input.
        reduced_channels: channels :math:`(p, q)` of a head after its reductions, or one number for
            both, each at most ``in_channels``; None for 32, or ``in_channels`` where that is less.
        num_heads: heads :math:`H \ge 1`.
        norm: a module on the matrices :math:`(N, H, p, q)`, which keeps their shape;
            ``nn.Identity()`` for none; None for :class:`SVPowerNorm` with its defaults.
        device: of the reductions' parameters.
        dtype: of the reductions' parameters.

    Attributes:
        out_features: length of the output vector, :math:`H p q`.

    Shape:
        - Input: :math:`(N, C, *)` with any spatial shape, contiguous or channels last
        - Output: :math:`(N, H p q)`

    Raises:
        InvalidValueError: for an option out of range, when the module is built; for an input with
            fewer than three dimensions, fewer than two positions, or other channels.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.

    Example:
        >>> pool = CrossCovPool(64, (16, 8), num_heads=4)
        >>> pool(torch.randn(8, 64, 7, 7)).shape, pool.out_features
        (torch.Size([8, 512]), 512)

    Reference:
        :cite:t:`xie2021sovit`.
    """

    def __init__(
        self,
        in_channels: int,
        reduced_channels: int | tuple[int, int] | None = None,
        num_heads: int = 1,
        *,
        norm: nn.Module | None = None,
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        check_factory(self, factory)
        check_count("in_channels", in_channels)
        check_count("num_heads", num_heads)
        if not isinstance(norm, nn.Module | None):
            raise InvalidTypeError(
                f"norm must be a torch.nn.Module or None, got {norm!r}; nn.Identity() does nothing."
            )
        pair = _pair(min(in_channels, 32) if reduced_channels is None else reduced_channels)
        for reduced in pair:
            check_count("reduced_channels", reduced)
            check_at_most("reduced_channels", reduced, "in_channels", in_channels)
        self.in_channels = in_channels
        self.reduced_channels = pair
        self.num_heads = num_heads
        self.out_features = num_heads * pair[0] * pair[1]
        self.reductions = nn.ModuleList(
            Reduction(in_channels, num_heads * reduced, **factory) for reduced in pair
        )
        self.norm = SVPowerNorm() if norm is None else norm

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(N, C, *)`` to ``(N, out_features)``."""
        check_tensor("x", x, 3)
        check_channels("x", x, "in_channels", self.in_channels)
        check_positions("x", x, 2, first=2)
        X, Y = (reduction(x).unflatten(1, (self.num_heads, -1)) for reduction in self.reductions)
        return self._pool(X, Y)

    @full_precision
    def _pool(self, X: Tensor, Y: Tensor) -> Tensor:
        return self.norm(F.cross_covariance(X, Y)).flatten(1)  # (N, H, p, q) -> (N, H p q)

    def extra_repr(self) -> str:
        """The options; the norm is a part of its own."""
        return (
            f"in_channels={self.in_channels}, reduced_channels={self.reduced_channels}, "
            f"num_heads={self.num_heads}"
        )


def _pair(channels: int | tuple[int, int]) -> tuple[int, int]:
    """Two numbers of channels; whether each is one is left for its own check."""
    if not isinstance(channels, tuple | list):
        return channels, channels
    if len(channels) != 2:
        raise InvalidTypeError(
            f"reduced_channels must be an int or a pair of ints, got {channels!r}."
        )
    return channels[0], channels[1]
