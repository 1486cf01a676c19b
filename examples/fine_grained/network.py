"""Networks: a convolutional trunk, a pooling that makes a vector of its features, a linear layer.

Heads differ in the pooling only. Where a covariance is taken, which needs many positions, a large
trunk keeps the resolution of the second-last stage in the last.
"""

from collections.abc import Callable

from torch import nn

from common import backbones, heads
from common.backbones import ResidualBlock, Trunk
from common.checks import choose
from covlayers import CovPool


def patch_resnet(in_channels: int, small_images: bool, last_stride: int) -> Trunk:
    """A convolution and a residual block of 32 channels at half the resolution.

    Its large siblings take the last two arguments; here they change nothing.
    """
    trunk = nn.Sequential(
        nn.Conv2d(in_channels, 32, 5, stride=2, padding=2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        ResidualBlock(32),
    )
    return trunk, 32


def log_pool(in_channels: int, reduced_channels: int | None = None) -> CovPool:
    """The matrix logarithm of the covariance: Euclidean distances are log-Euclidean ones."""
    return CovPool(in_channels, reduced_channels, function="log", vectorize="isometric")


BACKBONES: dict[str, Callable[[int, bool, int], Trunk]] = {
    "patch_resnet": patch_resnet,
    **backbones.BACKBONES,
}

HEADS: dict[str, Callable[..., nn.Module]] = {**heads.HEADS, "log": log_pool}


def build_network(
    backbone: str,
    head: str,
    num_classes: int,
    in_channels: int = 3,
    reduced_channels: int | None = None,
) -> nn.Sequential:
    """Put a trunk, a pooling and a linear classifier together.

    Args:
        backbone: one of ``BACKBONES``.
        head: one of ``HEADS``.
        num_classes: length of the output.
        in_channels: channels of the images.
        reduced_channels: channels on which the covariance is taken, after a 1x1 convolution; by
            default the trunk's channels.

    Raises:
        ValueError: if a name is not in its table; the message lists those that are.
    """
    build_trunk = choose("backbone", BACKBONES, backbone)
    build_pool = choose("head", HEADS, head)
    trunk, channels = build_trunk(in_channels, False, 2 if head == "avg" else 1)
    return heads.classifier_of(trunk, build_pool(channels, reduced_channels), num_classes)
