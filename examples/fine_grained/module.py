"""A fine-grained classifier: a trunk, perhaps trained elsewhere, and a pooling of its features."""

from typing import Any

from checkpoint import load_checkpoint
from common.classifier import Classifier
from common.pretrained import find_weights, load_weights
from network import build_network


class FineGrainedClassifier(Classifier):
    """A trunk, a pooling and a linear layer.

    Weights to start from are read when a training begins: what is trained stands on its own.

    Args:
        head: ``avg``, ``mpn``, ``isqrt``, ``mtp``, ``mpa`` or ``log``.
        backbone: ``patch_resnet``, ``small_resnet``, ``resnet18`` or ``resnet50``.
        num_classes: number of classes.
        in_channels: channels of the images.
        reduced_channels: channels on which a covariance is taken; by default the backbone's.
        weights: torchvision's for the backbone, such as ``IMAGENET1K_V2``, which are fetched.
        init_from: a checkpoint of this or of the image classification example, which gives trunk
            and pooling, and takes the place of ``weights``.
        recipe: how to train, the options of every classifier.

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        head: str = "isqrt",
        backbone: str = "patch_resnet",
        num_classes: int = 12,
        in_channels: int = 1,
        reduced_channels: int | None = None,
        weights: str | None = None,
        init_from: str | None = None,
        **recipe: Any,
    ) -> None:
        network = build_network(backbone, head, num_classes, in_channels, reduced_channels)
        super().__init__(network, num_classes, **recipe)
        self.weights = find_weights(backbone, in_channels, weights)

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        if self.hparams.init_from is not None:
            load_checkpoint(self.network, self.hparams.init_from)
        elif self.weights is not None:
            load_weights(self.network.trunk, self.weights)
