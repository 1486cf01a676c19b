"""Global covariance pooling of videos."""

import math
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from covlayers.functional._base.checks import check_at_most, check_choice, check_count, check_flag
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import check_tensor
from covlayers.modules._factory import Factory
from covlayers.modules.pooling._reduction import Reduction
from covlayers.modules.pooling.build_pool import PoolFactory, build_pool
from covlayers.modules.pooling.presets import ISQRTCovPool
from covlayers.modules.video.temporal_attention import (
    TemporalChannelAttention,
    TemporalSpatialAttention,
    check_frames,
)
from covlayers.modules.video.temporal_conv import TemporalConv

LEVELS = {"video": "n t c m -> n 1 c (t m)", "frame": "n t c m -> n t c m"}


class AttentiveTemporalCovPool(nn.Module):
    r"""Covariance pooling of a video whose frames attend to each other (TCP).

    The features of frame :math:`t`, :math:`x_t \in \mathbb{R}^{C \times M}`, become

    .. math:: h_t = \operatorname{TCA}(\operatorname{TSA}(R_1 x))_t, \qquad
              z_t = \operatorname{TConv}(R_2 h)_t,

    where :math:`R_1` and :math:`R_2` reduce the channels, to :math:`a` and to :math:`c`, each by a
    1x1 convolution without bias, batch normalisation and ReLU, and

    - TSA, :class:`~covlayers.TemporalSpatialAttention`, lets positions attend to each other by the
      two frames before;
    - TCA, :class:`~covlayers.TemporalChannelAttention`, weighs channels by how their means change;
    - TConv, :class:`~covlayers.TemporalConv`, convolves over time.

    A covariance pooling follows, over the positions of all frames together or of each frame alone:

    .. math:: y = \operatorname{pool}([z_1, \dots, z_T]) \quad \text{(video)}, \qquad
              y = \tfrac1T \sum_t \operatorname{pool}(z_t) \quad \text{(frame)}

    TConv makes every :math:`z_t` a sum over frames, so the covariance of a video holds the
    covariances between frames. Without TConv the order of the frames has no effect.

    The paper attends after both reductions, and feeds TCA and the shortcut with what it attends to.
    :class:`~covlayers.TCPCovPool` is that layer; here the attentions see all :math:`a` channels.

    Args:
        in_channels: channels :math:`C \ge 1` of the input.
        num_frames: frames, at least 1, that the kernel of TConv is made for,
            ``num_frames // 2 + 1``; any number may come in.
        attention_channels: channels :math:`a` of the attention, at most ``in_channels``; None for
            256 or, if those are fewer, ``in_channels``.
        reduced_channels: channels :math:`c` of the covariance, at most ``attention_channels``; None
            for 128 or, if those are fewer, ``attention_channels``.
        spatial_attention: whether to apply TSA.
        channel_attention: whether to apply TCA.
        temporal_conv: whether to apply TConv.
        published: whether the parts have their published places and biases, as in
            :class:`~covlayers.TCPCovPool`.
        level: ``"video"`` or ``"frame"``.
        pool: class, or function, to build the pooling of ``(N, c, M)`` from ``reduced_channels``,
            ``device``, ``dtype`` and options; it has the attribute ``out_features``.
        device: of the parameters; ``pool`` gets it too.
        dtype: of the parameters; ``pool`` gets it too.
        **options: of ``pool``, e.g. ``vectorize``, ``eps``, ``shrinkage``.

    Attributes:
        out_features: length of the output vector.

    Shape:
        - Input: :math:`(N, T, C, H, W)` with any number of frames :math:`T`
        - Output: :math:`(N, c(c+1)/2)`, or what ``pool`` returns for :math:`c` channels

    Raises:
        InvalidValueError: for an option out of range or an unknown level, when the module is built;
            for an input of other than five dimensions, with other channels than ``in_channels``, no
            frame, or fewer than two positions in all (in a frame, at the frame level).
        InvalidTypeError: for an option of a wrong type, a ``pool`` that builds no module with
            ``out_features``, or an input that is not real floating.

    Example:
        >>> pool = AttentiveTemporalCovPool(64, 8, attention_channels=32, reduced_channels=16)
        >>> pool(torch.randn(2, 8, 64, 7, 7)).shape, pool.out_features
        (torch.Size([2, 136]), 136)

    Reference:
        :cite:t:`gao2021temporal`.
    """

    def __init__(
        self,
        in_channels: int,
        num_frames: int,
        *,
        attention_channels: int | None = None,
        reduced_channels: int | None = None,
        spatial_attention: bool = True,
        channel_attention: bool = True,
        temporal_conv: bool = True,
        published: bool = False,
        level: str = "video",
        pool: PoolFactory = ISQRTCovPool,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        check_count("in_channels", in_channels)
        check_count("num_frames", num_frames)
        a = min(256, in_channels) if attention_channels is None else attention_channels
        check_count("attention_channels", a)
        check_at_most("attention_channels", a, "in_channels", in_channels)
        c = min(128, a) if reduced_channels is None else reduced_channels
        check_count("reduced_channels", c)
        check_at_most("reduced_channels", c, "attention_channels", a)
        check_choice("level", level, tuple(LEVELS))
        check_flag("spatial_attention", spatial_attention)
        check_flag("channel_attention", channel_attention)
        check_flag("temporal_conv", temporal_conv)
        check_flag("published", published)
        self.in_channels = in_channels
        self.num_frames = num_frames
        self.published = published
        self.level = level
        factory: Factory = {"device": device, "dtype": dtype}
        self.attention_reduction = Reduction(in_channels, a, **factory)
        self.spatial_attention: nn.Module = nn.Identity()
        self.channel_attention: nn.Module = nn.Identity()
        self.pool_reduction = Reduction(a, c, **factory)
        self.temporal_conv: nn.Module = nn.Identity()
        attended = c if published else a
        if spatial_attention:
            self.spatial_attention = TemporalSpatialAttention(attended, bias=published, **factory)
        if channel_attention:
            self.channel_attention = TemporalChannelAttention(attended, **factory)
        if temporal_conv:
            self.temporal_conv = TemporalConv(c, num_frames, bias=published, **factory)
        built: Any = build_pool(pool, c, options, **factory)
        self.pool: nn.Module = built
        self.out_features: int = built.out_features

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(N, T, C, H, W)`` to ``(N, out_features)``."""
        self._check(x)
        frames = x.shape[:2]
        h = self.attention_reduction(x.flatten(0, 1))  # (N T, a, M)
        if not self.published:
            h = self.channel_attention(self.spatial_attention(h.unflatten(0, frames))).flatten(0, 1)
        z = self.pool_reduction(h).unflatten(0, frames)  # (N, T, c, M)
        z = self._as_published(z) if self.published else self.temporal_conv(z)
        z = rearrange(z, LEVELS[self.level])
        return self.pool(z.flatten(0, 1)).unflatten(0, z.shape[:2]).mean(1)

    def _as_published(self, z: Tensor) -> Tensor:
        y = self.spatial_attention(z)
        if isinstance(self.channel_attention, TemporalChannelAttention):
            y = y * self.channel_attention.weights(z)
        if isinstance(self.temporal_conv, TemporalConv):
            y = torch.relu(z + self.temporal_conv.convolve(y))
        return y

    def _check(self, x: Tensor) -> None:
        check_tensor("x", x, 0)
        if x.dim() != 5:
            raise InvalidValueError(
                f"x must have 5 dimensions, (N, T, C, H, W), got shape {tuple(x.shape)}; "
                "one video is x[None], one frame x[:, None]."
            )
        check_frames("x", x, "in_channels", self.in_channels)
        positions = math.prod(x.shape[3:]) * (x.shape[1] if self.level == "video" else 1)
        if positions < 2:
            raise InvalidValueError(
                f"x must have at least 2 positions for each covariance of level={self.level!r}, "
                f"got shape {tuple(x.shape)}; 'video' counts the positions of all frames, 'frame' "
                "the positions of one."
            )

    def extra_repr(self) -> str:
        """What the parts do not show themselves."""
        return (
            f"{self.in_channels}, num_frames={self.num_frames}, level={self.level!r}, "
            f"published={self.published}"
        )
