"""Covariance pooling of videos as its paper does it."""

from collections.abc import MutableMapping
from functools import partial
from typing import Unpack

from torch import Tensor, nn

from covlayers.modules._factory import Factory
from covlayers.modules.pooling.presets import ISQRTCovPool
from covlayers.modules.video.temporal_pooling import AttentiveTemporalCovPool

# What the authors' program calls the parts.
PUBLISHED_NAMES = {
    "attention_reduction.0": "layer_reduce1",
    "attention_reduction.1": "layer_reduce_bn1",
    "pool_reduction.0": "layer_reduce2",
    "pool_reduction.1": "layer_reduce_bn2",
    "spatial_attention.query": "TCP_att.TSA.conv_phi_1",
    "spatial_attention.key": "TCP_att.TSA.conv_phi_2",
    "spatial_attention.value": "TCP_att.TSA.conv_phi0",
    "spatial_attention.norm": "TCP_att.TSA.norm",
    "channel_attention.gate.0": "TCP_att.TCA.g1",
    "channel_attention.gate.2": "TCP_att.TCA.g2",
    "temporal_conv.conv": "TCP_att.conv_1d",
}


class TCPOptions(Factory, total=False):
    """The options that the preset passes on to :class:`AttentiveTemporalCovPool`."""

    attention_channels: int | None
    reduced_channels: int | None
    spatial_attention: bool
    channel_attention: bool
    temporal_conv: bool
    level: str


class TCPCovPool(AttentiveTemporalCovPool):
    r"""Temporal-attentive covariance pooling, wired as published (TCP, of TCPNet).

    .. math:: z = R_2 R_1 x, \qquad
              y_t = \operatorname{ReLU}\bigl( z_t + W * (g(z) \odot \operatorname{TSA}(z))_t \bigr),

    where :math:`R_1` and :math:`R_2` reduce the channels, :math:`g(z)` are the weights of
    :class:`~covlayers.TemporalChannelAttention` and :math:`W *` is the convolution of
    :class:`~covlayers.TemporalConv`. A covariance of the :math:`y_t` and three steps of
    :class:`~covlayers.ISQRTCovPool` follow. With ``temporal_conv=False``,
    :math:`y = g(z) \odot \operatorname{TSA}(z)`.

    :class:`~covlayers.AttentiveTemporalCovPool` attends between :math:`R_1` and :math:`R_2`, to
    twice the channels, and feeds each part with what the one before it returns.

    ``load_state_dict`` also takes the authors' names, ``layer_reduce1.weight`` to
    ``TCP_att.TSA.norm.num_batches_tracked``, with the shapes of their convolutions. Their program
    adds 1e-5 to the trace that it divides the covariance by; this layer does not.

    Args:
        in_channels, num_frames: as :class:`AttentiveTemporalCovPool`.
        iterations, vectorize: as :class:`ISQRTCovPool`.
        attention_channels: channels between :math:`R_1` and :math:`R_2`, at most ``in_channels``;
            None for 256 or, if those are fewer, ``in_channels``.
        reduced_channels: channels of all that follows, at most ``attention_channels``; None for 128
            or, if those are fewer, ``attention_channels``.
        spatial_attention, channel_attention, temporal_conv: as :class:`AttentiveTemporalCovPool`.
        level, device, dtype: as :class:`AttentiveTemporalCovPool`.

    Attributes:
        out_features: length of the output vector.

    Shape:
        - Input: :math:`(N, T, C, H, W)` with any number of frames :math:`T`
        - Output: :math:`(N, c(c+1)/2)`, or :math:`(N, c^2)` with ``vectorize="full"``, for
          :math:`c` reduced channels

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`AttentiveTemporalCovPool`.

    Example:
        >>> pool = TCPCovPool(2048, num_frames=8)
        >>> sum(parameter.numel() for parameter in pool.parameters())
        821376
        >>> pool(torch.randn(2, 8, 2048, 7, 7)).shape
        torch.Size([2, 8256])

    Reference:
        :cite:t:`gao2021temporal`.
    """

    def __init__(
        self,
        in_channels: int,
        num_frames: int,
        *,
        iterations: int = 3,
        vectorize: str = "triu",
        **options: Unpack[TCPOptions],
    ) -> None:
        pool = partial(ISQRTCovPool, iterations=iterations, vectorize=vectorize, eps=0.0)
        super().__init__(in_channels, num_frames, published=True, pool=pool, **options)
        self.register_load_state_dict_pre_hook(_rename)  # type: ignore[no-untyped-call]  # in torch
        for name, part in self.named_modules():
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.bias)
                if name.startswith("channel_attention"):
                    nn.init.normal_(part.weight, std=0.01)
                else:
                    nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


def _rename(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *_: object) -> None:
    """Give the tensors of the authors' program the names and dimensions of a module."""
    for name, own in module.state_dict().items():
        part, leaf = name.rsplit(".", 1)
        value = state.pop(f"{prefix}{PUBLISHED_NAMES[part]}.{leaf}", None)
        if value is not None:
            extra = value.dim() > own.dim()  # a kernel has dimensions of size 1
            state[prefix + name] = value.flatten(own.dim() - 1) if extra else value
