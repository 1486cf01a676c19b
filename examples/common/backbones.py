"""Convolutional trunks: from images to features."""

from collections import OrderedDict
from collections.abc import Callable

import torchvision
from torch import Tensor, nn


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

    Its large siblings take the last two arguments; here they change nothing.
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
