"""Fixed networks in whose features pictures are compared, at several depths.

None of them learns, and no optimiser has their weights.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vgg import VGG19

SEED = 0
"""Filters are drawn with this seed, whatever the seed of the training."""


class RandomFilters(nn.Module):
    """The pixels, and what filters drawn at random and a ReLU make of them at several resolutions.

    Random filters of several sizes are as good for textures as learnt ones (Ustyuzhaninov et al.,
    ICLR 2017). Here their size grows as the picture shrinks, by averages of 2x2 pixels.

    Args:
        resolutions: how many, each half of the one before.
        filters: of each resolution.
        size: side of the filters, in pixels.

    Shape:
        - Input: :math:`(N, 3, H, W)`
        - Output: a list of :math:`(N, C, H', W')`
    """

    def __init__(self, resolutions: int = 3, filters: int = 32, size: int = 5) -> None:
        super().__init__()
        chance = torch.Generator().manual_seed(SEED)
        shape = (resolutions, filters, 3, size, size)
        weight = torch.randn(shape, generator=chance, device="cpu")
        weight -= weight.mean((-3, -2, -1), keepdim=True)  # blind to light
        weight /= torch.linalg.vector_norm(weight, dim=(-3, -2, -1), keepdim=True)
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = [x]
        for weight in self.weight:
            features.append(F.conv2d(x, weight).relu())
            x = F.avg_pool2d(x, 2)
        return features


class VGG19Features(VGG19):
    """The features of VGG-19 after the first ReLU at each of four resolutions."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.depths(x)


FEATURES: dict[str, Callable[[], nn.Module]] = {"random": RandomFilters, "vgg19": VGG19Features}
