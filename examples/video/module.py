"""A classifier of videos: a trunk for every frame, and one vector of the features of all."""

from typing import Any

from common.classifier import Classifier
from common.pretrained import find_weights, load_weights
from network import build_network


class VideoClassifier(Classifier):
    """A trunk, a pooling over frames and positions, and a linear layer.

    Weights to start from are read when a training begins: what is trained stands on its own.

    Args:
        head: ``single_frame``, ``order_free`` or ``attentive``: what the frames tell each other.
        pool: ``avg``, ``mpn``, ``isqrt``, ``mtp`` or ``mpa``: what is taken of the positions.
        backbone: ``small_cnn``, ``small_resnet``, ``resnet18`` or ``resnet50``.
        num_classes: number of classes.
        in_channels: channels of the frames.
        num_frames: frames of a clip, which the temporal convolution is made for.
        attention_channels: channels of the attention; by default 256, or the backbone's.
        reduced_channels: channels of the covariance; by default 128, or the attention's.
        head_options: ``spatial_attention``, ``channel_attention``, ``temporal_conv`` and ``level``
            of :class:`~covlayers.AttentiveTemporalCovPool`, in place of the head's own.
        weights: torchvision's for the backbone, such as ``IMAGENET1K_V2``, which are fetched.
        recipe: how to train, the options of every classifier.

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        head: str = "attentive",
        pool: str = "isqrt",
        backbone: str = "small_cnn",
        num_classes: int = 8,
        in_channels: int = 1,
        num_frames: int = 8,
        attention_channels: int | None = None,
        reduced_channels: int | None = None,
        head_options: dict[str, Any] | None = None,
        weights: str | None = None,
        **recipe: Any,
    ) -> None:
        network = build_network(
            backbone,
            head,
            pool,
            num_classes,
            in_channels,
            num_frames,
            attention_channels,
            reduced_channels,
            head_options,
        )
        super().__init__(network, num_classes, **recipe)
        self.weights = find_weights(backbone, in_channels, weights)

    def setup(self, stage: str) -> None:
        if stage == "fit" and self.weights is not None:
            load_weights(self.network.trunk.each, self.weights)
