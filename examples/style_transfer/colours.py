r"""The colours of a picture, as the mean and covariance of its pixels.

The bytes of a picture are in a gamut that whitening-coloring knows nothing of: what leaves it is
clipped, which costs some of the covariance :math:`\Sigma_s`. So the two take turns,

.. math:: x \leftarrow \operatorname{clip}\bigl( \Sigma_s^{1/2} \Sigma_x^{-1/2} (x - \mu_x)
          + \mu_s \bigr),

until the distance :math:`\lVert \Sigma_x - \Sigma_s \rVert_F / \lVert \Sigma_s \rVert_F` of the
bytes is small.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from covlayers import WhiteningColoring
from pictures import to_bytes

TOLERANCE = 0.01
"""The distance at which it is enough."""

MOST_STEPS = 100
"""Whitening-coloring and clipping take turns no more often than this."""

LEAST_CHANGE = 1e-3
"""They stop where a step changes the distance by a smaller share of it."""


class Pixels(NamedTuple):
    """A picture, and where it counts."""

    values: Tensor  # (1, 3, H, W)
    mask: Tensor | None = None  # (1, 1, H, W), bool or in [0, 1]

    def flat(self) -> bool:
        """Whether all that counts has one colour."""
        counted = self.values[0].flatten(1)
        if self.mask is not None:
            counted = counted[:, self.mask.flatten() > 0]
        return bool((counted == counted[:, :1]).all())

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean :math:`(3, 1)` and covariance :math:`(3, 3)`, in float64."""
        x = self.values[0].flatten(1).double()
        w = torch.ones_like(x[0]) if self.mask is None else self.mask.flatten().double()
        w = w / w.sum()
        mean = (w * x).sum(1, keepdim=True)
        return mean, (w * (x - mean)) @ (x - mean).T


def distance(x: Pixels, style: Pixels) -> float:
    """The relative distance of the covariances of two pictures; zero where both are."""
    (_, ours), (_, theirs) = x.moments(), style.moments()
    missed, wanted = (ours - theirs).norm().item(), theirs.norm().item()
    return missed / wanted if wanted else float(missed > 0)


def recolour(x: Pixels, style: Pixels, layer: WhiteningColoring) -> Tensor:
    """The picture with the style's moments, where it counts; not yet in the gamut."""
    return layer(x.values, style.values, content_mask=x.mask, style_mask=style.mask)


def match(x: Pixels, style: Pixels, layer: WhiteningColoring) -> tuple[Tensor, float, int]:
    """The picture in bytes / 255 with the style's moments, its distance, and the steps taken.

    It ends early where steps lead no nearer, as when the layer's groups part the colours.
    """
    step, now, change = 0, torch.inf, torch.inf
    while step < MOST_STEPS and now >= TOLERANCE and change >= LEAST_CHANGE * now:
        coloured = recolour(x, style, layer)
        rounded = to_bytes(coloured).float() / 255
        x, step, before = Pixels(coloured.clamp(0, 1), x.mask), step + 1, now
        now = distance(Pixels(rounded, x.mask), style)
        change = abs(before - now)
    return rounded, now, step
