r"""A picture made of patches of another: matched by whitened features, laid over each other.

The :math:`k \times k` patches :math:`p` of a style have a mean :math:`m` and principal axes
:math:`v_i` with variances :math:`\lambda_i`. The features of a patch of either picture are

.. math:: f_i = \lambda_i^{-1/4}\, v_i^\top (p - m)

for the first few; the power, half way to whitening, lets fine texture count beside light and shade.
Features of the content have other moments, since it shows other things, and the nearest patch of
the style would nearly always be one of a few. Whitening with their own covariance and coloring with
the covariance of the style's features,

.. math:: \hat f = A_s^{1/2} A_c^{-1/2} (f - \mu_c) + \mu_s,

makes the two clouds agree to second order, so that all of the style is used. The match is
:math:`\arg\min_j \lVert \hat f - f_j \rVert` over a random quarter of the patches, another one for
each neighbour: where the content is flat, one patch would else be repeated like wallpaper. The
patches found are averaged where they overlap, with weights that fall towards their edges, so that
there are no seams.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, fold, pad

from covlayers import WhiteningColoring

SIDE, STEP = 8, 2
"""Pixels along a patch, and from one patch of the content to the next."""

FEATURES = 24
"""Principal axes; a number with many divisors, as groups must divide it."""

SMALLEST = 1e-4
"""Variances of the features count as no smaller, relative to the largest."""

CANDIDATES = 6000
"""Patches drawn from the style, or all where those are fewer."""

AT_ONCE = 1024
"""Patches of the content that are treated together: this, not the picture, sets the memory."""


def chance() -> torch.Generator:
    """The same draws each time."""
    return torch.Generator().manual_seed(0)


@dataclass(frozen=True)
class StylePatches:
    r"""Patches of a style, and their features.

    Args:
        pixels: :math:`(3 k^2, S)`.
        mean: :math:`m`, :math:`(3 k^2, 1)`.
        axes: :math:`\lambda_i^{-1/4} v_i`, :math:`(3 k^2, F)`.
    """

    pixels: Tensor
    mean: Tensor
    axes: Tensor

    @classmethod
    def draw(cls, style: Tensor, mask: Tensor | None) -> "StylePatches":
        """Draw from a style :math:`(1, 3, H, W)`, where its mask lets; always the same patches."""
        height, width = (length - SIDE + 1 for length in style.shape[-2:])
        share = torch.ones(height, width) if mask is None else avg_pool2d(mask, SIDE, 1)[0, 0]
        half = share.flatten().topk(FEATURES).values[-1].clamp(max=0.5)
        places = (share >= half).flatten().nonzero()[:, 0]
        order = torch.randperm(len(places), generator=chance())
        places = places[order[:CANDIDATES]]
        within = torch.arange(SIDE)
        rows = (places // width)[:, None, None] + within[:, None]
        columns = (places % width)[:, None, None] + within
        pixels = style[0][:, rows, columns].movedim(1, -1).flatten(0, 2)
        mean = pixels.mean(1, keepdim=True)
        covariance = (pixels - mean) @ (pixels - mean).T / len(places)
        axes, variances, _ = torch.linalg.svd(covariance)
        scales = variances.clamp(min=SMALLEST * variances[0]) ** -0.25
        return cls(pixels, mean, (axes * scales)[:, :FEATURES])

    def features(self) -> Tensor:
        """The features of the patches themselves, :math:`(F, S)`."""
        return self.axes.T @ (self.pixels - self.mean)

    def features_of(self, x: Tensor) -> Tensor:
        """The features of a picture's patches at every step, for ``x`` :math:`(1, 3, H, W)`."""
        kernels = self.axes.T.reshape(FEATURES, 3, SIDE, SIDE)
        return conv2d(x, kernels, stride=STEP) - (self.axes.T @ self.mean)[None, :, :, None]


def extend(x: Tensor) -> Tensor:
    """A picture, continued by its edge until whole steps cover it."""
    below, right = (-(length - SIDE) % STEP for length in x.shape[-2:])
    return pad(x, (0, right, 0, below), mode="replicate")


def window() -> Tensor:
    """The weights within a patch, :math:`(k^2, 1)`: steep, as averages blur, and none zero."""
    rise = torch.hann_window(SIDE + 2, periodic=False)[1:-1] ** 3
    return torch.outer(rise, rise).reshape(-1, 1)


def nearest(features: Tensor, known: Tensor) -> Tensor:
    """For each of some features :math:`(F, M)` the nearest of a quarter of those known."""
    generator = chance()
    found = torch.empty(features.shape[1], dtype=torch.long)
    for some in torch.randperm(len(found), generator=generator).split(AT_ONCE):
        quarter = torch.randperm(known.shape[1], generator=generator)[: known.shape[1] // 4 + 1]
        these = known[:, quarter]
        near = torch.addmm(-these.square().sum(0) / 2, features[:, some].T, these).argmax(1)
        found[some] = quarter[near]
    return found


def overlay(pixels: Tensor, found: Tensor, x: Tensor) -> Tensor:
    """The patches found, :math:`(h, w)`, averaged over a picture like ``x``."""
    total, weight = torch.zeros_like(x), torch.zeros_like(x[:, :1])
    inner = window()
    top = 0
    for rows in found.split(max(1, AT_ONCE // found.shape[1])):
        height = (len(rows) - 1) * STEP + SIDE
        strip = {"output_size": (height, x.shape[-1]), "kernel_size": SIDE, "stride": STEP}
        weighted = (pixels[:, rows.flatten()].unflatten(0, (3, -1)) * inner).flatten(0, 1)
        total[:, :, top : top + height] += fold(weighted[None], **strip)
        weight[:, :, top : top + height] += fold(inner[None].expand(1, -1, rows.numel()), **strip)
        top += len(rows) * STEP
    return total / weight


def rebuild(
    x: Tensor, style: StylePatches, align: WhiteningColoring, mask: Tensor | None = None
) -> Tensor:
    """A picture :math:`(1, 3, H, W)` made of patches of the style.

    Args:
        x: the picture to resemble.
        style: the patches that there are.
        align: gives the picture's features the moments of the style's.
        mask: where the picture's own moments are taken, :math:`(1, 1, H, W)`.
    """
    padded = extend(x)
    share = None if mask is None else avg_pool2d(extend(mask), SIDE, STEP).clamp(max=1)
    known = style.features()
    features = align(style.features_of(padded), known[None], content_mask=share)[0]
    found = nearest(features.flatten(1), known).view(features.shape[1:])
    return overlay(style.pixels, found, padded)[..., : x.shape[-2], : x.shape[-1]]
