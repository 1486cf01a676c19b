"""Networks: a convolutional trunk, a pooling that makes a vector of its features, a linear layer.

Global average pooling keeps the mean of the features over the positions; covariance pooling keeps
how they vary together. Everything before the pooling and after it is the same for both.
"""

from collections import OrderedDict
from collections.abc import Callable

import torchvision
from torch import Tensor, nn

from checks import choose
from covlayers import ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool


class AvgPool(nn.Module):
    """Global average pooling with the constructor of a covariance pooling.

    Args:
        in_channels: channels of the features.
        reduced_channels: accepted and ignored: a mean is short enough as it is.

    Shape:
        - Input: :math:`(N, C, H, W)`
        - Output: :math:`(N, C)`
    """

    def __init__(self, in_channels: int, reduced_channels: int | None = None) -> None:
        super().__init__()
        self.out_features = in_channels

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(-2, -1))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions that are added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.residual(x)).relu()


Trunk = tuple[nn.Module, int]
"""A module from images to features, and the number of channels of those."""


def small_resnet(in_channels: int, small_images: bool, last_stride: int) -> Trunk:
    """Two residual blocks of 32 channels that keep the resolution, for images of a few pixels.

    The last two arguments are those of its large siblings; there is nothing here that they change.
    """
    trunk = nn.Sequential(
        nn.Conv2d(in_channels, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(inplace=True),
        ResidualBlock(32),
        ResidualBlock(32),
    )
    return trunk, 32


def torchvision_resnet(name: str) -> Callable[[int, bool, int], Trunk]:
    """A builder of torchvision's residual network of that name, up to its pooling."""

    def build(in_channels: int, small_images: bool, last_stride: int) -> Trunk:
        resnet = torchvision.models.get_model(name, weights=None)
        channels = resnet.fc.in_features
        if small_images:
            resnet.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            resnet.maxpool = nn.Identity()
        elif in_channels != 3:
            resnet.conv1 = nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False)
        for module in resnet.layer4[0].modules():
            if isinstance(module, nn.Conv2d) and module.stride == (2, 2):
                module.stride = (last_stride, last_stride)
        return nn.Sequential(OrderedDict(list(resnet.named_children())[:-2])), channels

    return build


BACKBONES: dict[str, Callable[[int, bool, int], Trunk]] = {
    "small_resnet": small_resnet,
    "resnet18": torchvision_resnet("resnet18"),
    "resnet50": torchvision_resnet("resnet50"),
}

HEADS: dict[str, Callable[..., nn.Module]] = {
    "avg": AvgPool,
    "mpn": MPNCovPool,
    "isqrt": ISQRTCovPool,
    "mtp": MTPCovPool,
    "mpa": MPACovPool,
}


def build_network(
    backbone: str,
    head: str,
    num_classes: int,
    in_channels: int = 3,
    reduced_channels: int | None = None,
    small_images: bool = False,
) -> nn.Sequential:
    """Put a trunk, a pooling and a linear classifier together.

    A covariance needs many positions, so its trunk keeps the resolution of the last but one stage
    in the last, as in iSQRT-COV.

    Args:
        backbone: one of ``BACKBONES``.
        head: one of ``HEADS``.
        num_classes: length of the output.
        in_channels: channels of the images.
        reduced_channels: channels on which the covariance is taken, after a 1x1 convolution; by
            default those of the trunk.
        small_images: give a large backbone a stem without stride, for images of 32 pixels.

    Raises:
        ValueError: if a name is not in its table; the message lists those that are.
    """
    build_trunk = choose("backbone", BACKBONES, backbone)
    build_pool = choose("head", HEADS, head)
    trunk, channels = build_trunk(in_channels, small_images, 2 if head == "avg" else 1)
    pool = build_pool(channels, reduced_channels)
    classifier = nn.Linear(pool.out_features, num_classes)
    return nn.Sequential(OrderedDict(trunk=trunk, pool=pool, classifier=classifier))
