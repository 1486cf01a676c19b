"""Networks: a stem makes visual tokens of an image, transformer blocks mix them, a head classifies.

An ordinary vision transformer classifies by its class token alone and leaves the visual tokens
aside; a second-order head also takes how these vary together. All else is the same whatever the
head.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from common.checks import choose, require
from common.heads import AvgPool
from covlayers import CrossCovPool, ISQRTCovPool, MPACovPool, MPNCovPool, SecondOrderHead
from stem import STEMS


class ClassTokenHead(nn.Linear):
    """A linear layer of the class token, with the constructor of a second-order head.

    Args:
        embed_dim: length of a token.
        num_classes: number of logits.
        pooling: accepted and ignored: nothing is pooled.

    Shape:
        - Input: :math:`(N, L, D)`, class token first
        - Output: :math:`(N, K)`
    """

    def __init__(self, embed_dim: int, num_classes: int, **pooling: Any) -> None:
        super().__init__(embed_dim, num_classes)

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens[:, 0])


def avg_pool(channels: int, **pooling: Any) -> AvgPool:
    """The mean of the visual tokens: the first order, still fused with the class token."""
    return AvgPool(channels)


HEADS: dict[str, Callable[..., nn.Module]] = {
    "class_token": ClassTokenHead,
    "avg": partial(SecondOrderHead, pool=avg_pool),
    "mpn": partial(SecondOrderHead, pool=MPNCovPool),
    "isqrt": partial(SecondOrderHead, pool=ISQRTCovPool),
    "mpa": partial(SecondOrderHead, pool=MPACovPool),
    "cross": partial(SecondOrderHead, pool=CrossCovPool),
}


class VisionTransformer(nn.Module):
    """A stem, a class token, learnt positions, pre-norm transformer blocks, a norm and a head.

    Args:
        stem: one of ``STEMS``.
        head: one of ``HEADS``.
        num_classes: number of logits.
        in_channels: channels of the images.
        image_size: their side, in pixels.
        patch_size: pixels between neighbouring tokens; it divides ``image_size``.
        stem_width: channels inside a convolutional stem.
        embed_dim: length of a token.
        depth: number of blocks.
        num_heads: attention heads; it divides ``embed_dim``.
        mlp_ratio: width of a block's two-layer perceptron, in units of ``embed_dim``.
        dropout: the dropout of the blocks, in [0, 1).
        fusion: how the head joins class token and visual tokens.
        reduced_channels: channels on which the head takes a covariance, a pair for ``cross``.

    Raises:
        ValueError: if a name is not in its table or a number is out of range.
    """

    def __init__(
        self,
        stem: str,
        head: str,
        num_classes: int,
        *,
        in_channels: int,
        image_size: int,
        patch_size: int,
        stem_width: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        dropout: float,
        fusion: str,
        reduced_channels: int | list[int] | None,
    ) -> None:
        super().__init__()
        build_stem = choose("stem", STEMS, stem)
        build_head = choose("head", HEADS, head)
        require(patch_size > 0, "patch_size", "a positive number of pixels", patch_size)
        divides = image_size % patch_size == 0
        require(divides, "patch_size", f"a divisor of {image_size}", patch_size)
        require(embed_dim > 0, "embed_dim", "positive", embed_dim)
        require(num_heads > 0, "num_heads", "positive", num_heads)
        require(embed_dim % num_heads == 0, "num_heads", f"a divisor of {embed_dim}", num_heads)
        require(depth > 0, "depth", "positive", depth)
        require(mlp_ratio > 0, "mlp_ratio", "positive", mlp_ratio)
        require(0 <= dropout < 1, "dropout", "in [0, 1)", dropout)
        self.image_size = image_size
        self.grid = image_size // patch_size
        self.stem = build_stem(in_channels, embed_dim, patch_size, stem_width)
        self.class_token = nn.Parameter(torch.zeros(embed_dim))
        self.positions = nn.Parameter(torch.randn(1 + self.grid**2, embed_dim))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    embed_dim,
                    num_heads,
                    int(mlp_ratio * embed_dim),
                    dropout,
                    activation="gelu",
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(embed_dim)
        self.head = build_head(
            embed_dim, num_classes, fusion=fusion, reduced_channels=reduced_channels
        )

    def embed(self, images: Tensor) -> Tensor:
        """The tokens before the first block, class token first."""
        side = tuple(images.shape[-2:])
        require(side == 2 * (self.image_size,), "images", f"{self.image_size} pixels a side", side)
        visual = self.stem(images).flatten(2).mT  # (N, M, D)
        first = self.class_token.expand(len(images), 1, -1)
        return torch.cat([first, visual], 1) + self.positions

    def tokens(self, images: Tensor) -> Tensor:
        """The tokens that the head takes, class token first."""
        return self.norm(self.blocks(self.embed(images)))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.tokens(images))
