"""What is measured of a transfer."""

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.image import StructuralSimilarityIndexMeasure


class Ratio(Metric):
    """The sum of some numbers in units of the sum of others."""

    full_state_update = False

    def __init__(self) -> None:
        super().__init__()
        self.add_state("above", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("below", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, above: Tensor, below: Tensor) -> None:
        self.above += above.sum()
        self.below += below.sum()

    def compute(self) -> Tensor:
        return self.above / self.below


class StyleMetrics(nn.ModuleDict):
    """How near outputs come to the style, and how much of the content they keep.

    ``style_distance`` is how far covariances of the output are from the style's, in the mean of all
    pairs, ``untransferred`` how far the content's were, ``style_gain`` the second over the first,
    and ``ssim`` the structural similarity of output and content.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "style_distance": MeanMetric(),
                "untransferred": MeanMetric(),
                "style_gain": Ratio(),
                "ssim": StructuralSimilarityIndexMeasure(data_range=1.0),
            }
        )

    def measure(
        self, distance: Tensor, untransferred: Tensor, output: Tensor, content: Tensor
    ) -> None:
        """Take in some pairs: both distances, :math:`(N,)`, and the pictures."""
        self["style_distance"].update(distance)
        self["untransferred"].update(untransferred)
        self["style_gain"].update(untransferred, distance)
        self["ssim"].update(output, content)
