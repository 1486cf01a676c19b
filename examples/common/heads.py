"""Poolings that make a vector of features: their mean, or how they vary together."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from covlayers import ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool


class AvgPool(nn.Module):
    """Global average pooling with the constructor of a covariance pooling.

    Args:
        in_channels: channels of the features.
        reduced_channels: accepted and ignored: a mean is short enough as it is.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C)`
    """

    def __init__(self, in_channels: int, reduced_channels: int | None = None) -> None:
        super().__init__()
        self.out_features = in_channels

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(-1)


HEADS: dict[str, Callable[..., nn.Module]] = {
    "avg": AvgPool,
    "mpn": MPNCovPool,
    "isqrt": ISQRTCovPool,
    "mtp": MTPCovPool,
    "mpa": MPACovPool,
}


def classifier_of(trunk: nn.Module, pool: Any, num_classes: int) -> nn.Sequential:
    """A trunk, a pooling of its features, and a linear layer of what that gives."""
    classifier = nn.Linear(pool.out_features, num_classes)
    return nn.Sequential(OrderedDict(trunk=trunk, pool=pool, classifier=classifier))
