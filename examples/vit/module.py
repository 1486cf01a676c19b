"""A vision transformer that classifies by the class token alone, or by the visual tokens too."""

from typing import Any

from common.classifier import Classifier
from network import VisionTransformer


class SecondOrderViTClassifier(Classifier):
    """A vision transformer with a head of first or second order.

    Args:
        head: ``class_token``, the ordinary one; ``avg``, ``mpn``, ``isqrt``, ``mpa`` or ``cross``,
            the class token beside the visual tokens' mean, normalised covariance or normalised
            cross covariance.
        fusion: of class token and visual tokens: ``sum``, ``concat``, ``late`` or ``visual_only``.
        reduced_channels: channels on which the covariance is taken, a pair for ``cross``.
        stem: ``patch`` or ``conv``.
        num_classes: number of classes.
        in_channels: channels of the images.
        image_size: their side, in pixels.
        patch_size: pixels between neighbouring tokens.
        stem_width: channels inside the stem ``conv``, 64 in So-ViT.
        embed_dim: length of a token.
        depth: number of transformer blocks.
        num_heads: attention heads.
        mlp_ratio: width of a block's perceptron, in units of ``embed_dim``.
        dropout: the dropout of the blocks.
        recipe: how to train, the options of every classifier.

    Raises:
        ValueError: if an option is unknown or out of range.
    """

    def __init__(
        self,
        head: str = "mpa",
        fusion: str = "late",
        reduced_channels: int | list[int] | None = None,
        stem: str = "conv",
        num_classes: int = 10,
        in_channels: int = 1,
        image_size: int = 8,
        patch_size: int = 2,
        stem_width: int = 16,
        embed_dim: int = 64,
        depth: int = 2,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        dropout: float = 0.0,
        **recipe: Any,
    ) -> None:
        network = VisionTransformer(
            stem,
            head,
            num_classes,
            in_channels=in_channels,
            image_size=image_size,
            patch_size=patch_size,
            stem_width=stem_width,
            embed_dim=embed_dim,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            fusion=fusion,
            reduced_channels=reduced_channels,
        )
        super().__init__(network, num_classes, **recipe)
