"""Stems: from images to a grid of visual tokens, a fixed number of pixels apart."""

from collections.abc import Callable
from itertools import repeat

from torch import nn
from torchvision.models.resnet import Bottleneck

from common.checks import require


def patch_stem(in_channels: int, embed_dim: int, patch_size: int, width: int) -> nn.Module:
    """A linear map of patches side by side, as in the first vision transformer.

    It has no channels in between, so ``width`` changes nothing.
    """
    return nn.Conv2d(in_channels, embed_dim, patch_size, patch_size)


def conv_stem(in_channels: int, embed_dim: int, patch_size: int, width: int) -> nn.Module:
    """A convolution, a maximum, and three or more bottlenecks of ResNet, as in So-ViT.

    The maximum halves the resolution, and so do the first bottlenecks, down to the grid.

    Raises:
        ValueError: unless ``patch_size`` is a power of two, 2 or more.
    """
    halvings = patch_size.bit_length() - 1
    power = halvings > 0 and patch_size == 2**halvings
    require(power, "patch_size", "a power of two with stem='conv'", patch_size)
    require(width > 0, "stem_width", "positive", width)
    strides = [2] * (halvings - 1) + [1] * (4 - halvings)
    outer = Bottleneck.expansion * width
    inputs = [width] + [outer] * (len(strides) - 1)
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        nn.MaxPool2d(3, 2, padding=1),
        *(bottleneck(*sizes) for sizes in zip(inputs, repeat(width), strides)),
        nn.Conv2d(outer, embed_dim, 1),
    )


def bottleneck(channels: int, width: int, stride: int) -> Bottleneck:
    """A bottleneck block, with a convolution for the shortcut where it cannot be the input."""
    outer = Bottleneck.expansion * width
    if (channels, stride) == (outer, 1):
        return Bottleneck(channels, width)
    shortcut = nn.Conv2d(channels, outer, 1, stride, bias=False)
    return Bottleneck(channels, width, stride, nn.Sequential(shortcut, nn.BatchNorm2d(outer)))


STEMS: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "patch": patch_stem,
    "conv": conv_stem,
}
