"""Networks: a convolutional trunk, a pooling that makes a vector of its features, a linear layer.

Global average pooling keeps the mean of the features over the positions; covariance pooling keeps
how they vary together. The norm of the stem, the first of the trunk, scales its channels one by one
or whitens them together. All else is the same whatever the choice.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from common.backbones import BACKBONES
from common.checks import choose
from common.heads import HEADS, classifier_of
from covlayers import DecorrelatedBatchNorm, IterNorm, PCANorm


def pca_norm(num_features: int, num_components: int | None = None, **options: Any) -> PCANorm:
    """A projection on the leading components, by default a quarter as many as channels."""
    return PCANorm(num_features, num_components or num_features // 4, **options)


NORMS: dict[str, Callable[..., nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "decorrelated": DecorrelatedBatchNorm,
    "iternorm": IterNorm,
    "pca": pca_norm,
}


def build_network(
    backbone: str,
    head: str,
    num_classes: int,
    in_channels: int = 3,
    reduced_channels: int | None = None,
    small_images: bool = False,
    norm: str = "batch",
    norm_options: Mapping[str, Any] | None = None,
) -> nn.Sequential:
    """Put a trunk, a pooling and a linear classifier together.

    A covariance needs many positions, so its trunk keeps the resolution of the second-last stage in
    the last, as in iSQRT-COV.

    Args:
        backbone: one of ``BACKBONES``.
        head: one of ``HEADS``.
        num_classes: length of the output.
        in_channels: channels of the images.
        reduced_channels: channels on which the covariance is taken, after a 1x1 convolution; by
            default the trunk's channels.
        small_images: give a large backbone a stem without stride, for images of 32 pixels.
        norm: one of ``NORMS``, for the stem; the others stay batch normalisations.
        norm_options: arguments of that layer, such as ``num_groups``, ``eps`` and ``backward``.

    Raises:
        ValueError: if a name is not in its table; the message lists those that are.
    """
    build_trunk = choose("backbone", BACKBONES, backbone)
    build_pool = choose("head", HEADS, head)
    build_norm = choose("norm", NORMS, norm)
    trunk, channels = build_trunk(in_channels, small_images, 2 if head == "avg" else 1)
    path, stem = next(
        (path, module)
        for path, module in trunk.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    )
    trunk.set_submodule(path, build_norm(stem.num_features, **norm_options or {}))
    return classifier_of(trunk, build_pool(channels, reduced_channels), num_classes)
