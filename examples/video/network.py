"""Networks: a convolutional trunk for every frame, a pooling over all of them, a linear layer.

The pooling has two choices that do not depend on each other. The head says what frames tell each
other: nothing, as there is only one; nothing, as their order is not seen; or what attention and
a temporal convolution make of it. The pool says what is taken of the positions: their mean or their
covariance. All else is the same whatever the choice.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from common import backbones
from common.backbones import Trunk
from common.checks import choose
from common.heads import HEADS as POOLS
from common.heads import classifier_of
from covlayers import AttentiveTemporalCovPool


def small_cnn(in_channels: int, small_images: bool, last_stride: int) -> Trunk:
    """Two convolutions on a torus, to 8 channels and to 24 at half the resolution.

    A clip that is shifted around the torus by an even number of pixels has the same features,
    shifted. The last two arguments serve its large siblings.
    """
    layers: list[nn.Module] = []
    for c, d, stride in ((in_channels, 8, 1), (8, 24, 2)):
        conv = nn.Conv2d(c, d, 3, stride, padding=1, padding_mode="circular", bias=False)
        layers += [conv, nn.BatchNorm2d(d), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers), 24


class EachFrame(nn.Module):
    """A network of images that is applied to every frame.

    Args:
        each: from :math:`(N, C, H, W)` to features.

    Shape:
        - Input: :math:`(N, T, C, H, W)`
        - Output: :math:`(N, T, *)`
    """

    def __init__(self, each: nn.Module) -> None:
        super().__init__()
        self.each = each

    def forward(self, x: Tensor) -> Tensor:
        return self.each(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class SingleFramePool(AttentiveTemporalCovPool):
    """A pooling of the frame in the middle."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[:, x.shape[1] // 2, None])


APART = {"spatial_attention": False, "channel_attention": False, "temporal_conv": False}
"""Options of a pooling whose frames tell each other nothing."""

HEADS: dict[str, Callable[..., AttentiveTemporalCovPool]] = {
    "single_frame": partial(SingleFramePool, **APART),
    "order_free": partial(AttentiveTemporalCovPool, **APART),
    "attentive": AttentiveTemporalCovPool,
}

BACKBONES: dict[str, Callable[[int, bool, int], Trunk]] = {
    "small_cnn": small_cnn,
    **backbones.BACKBONES,
}


def build_network(
    backbone: str,
    head: str,
    pool: str,
    num_classes: int,
    in_channels: int = 3,
    num_frames: int = 8,
    attention_channels: int | None = None,
    reduced_channels: int | None = None,
    head_options: Mapping[str, Any] | None = None,
) -> nn.Sequential:
    """Put a trunk, a pooling and a linear classifier together.

    The trunk keeps the resolution of the second-last stage in the last, as in iSQRT-COV.

    Args:
        backbone: one of ``BACKBONES``.
        head: one of ``HEADS``.
        pool: one of ``POOLS``.
        num_classes: length of the output.
        in_channels: channels of the frames.
        num_frames: frames that the temporal convolution is made for.
        attention_channels: channels of the attention; by default 256, or the trunk's.
        reduced_channels: channels of the covariance; by default 128, or the attention's.
        head_options: further arguments of the head, in place of those that it has.

    Raises:
        ValueError: if a name is not in its table; the message lists those that are.
    """
    build_trunk = choose("backbone", BACKBONES, backbone)
    build_head = choose("head", HEADS, head)
    build_pool = choose("pool", POOLS, pool)
    trunk, channels = build_trunk(in_channels, False, 1)
    pooling = build_head(
        channels,
        num_frames,
        attention_channels=attention_channels,
        reduced_channels=reduced_channels,
        pool=lambda reduced, **_: build_pool(reduced),
        **head_options or {},
    )
    return classifier_of(EachFrame(trunk), pooling, num_classes)
