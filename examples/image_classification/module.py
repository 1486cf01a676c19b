"""A classifier of images: the head pools by average or by covariance, the stem may whiten."""

from typing import Any

from common.classifier import Classifier
from network import build_network


class ImageClassifier(Classifier):
    """A trunk, a pooling and a linear layer.

    Args:
        head: ``avg``, ``mpn``, ``isqrt``, ``mtp`` or ``mpa``.
        backbone: ``small_resnet``, ``resnet18`` or ``resnet50``.
        num_classes: number of classes.
        in_channels: channels of the images.
        reduced_channels: channels on which a covariance is taken; by default the backbone's.
        small_images: give a large backbone a stem for images of 32 pixels.
        norm: the norm of the stem: ``batch``, ``decorrelated``, ``iternorm`` or ``pca``.
        norm_options: arguments of that layer, such as ``num_groups``, ``eps`` and ``backward``.
        recipe: how to train, the options of every classifier.

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        head: str = "isqrt",
        backbone: str = "small_resnet",
        num_classes: int = 10,
        in_channels: int = 1,
        reduced_channels: int | None = None,
        small_images: bool = False,
        norm: str = "batch",
        norm_options: dict[str, Any] | None = None,
        **recipe: Any,
    ) -> None:
        network = build_network(
            backbone,
            head,
            num_classes,
            in_channels,
            reduced_channels,
            small_images,
            norm,
            norm_options,
        )
        super().__init__(network, num_classes, **recipe)
