r"""A picture in the colours and the texture of another, in closed form: nothing is learnt.

1. **Colours.** The pixels of the content get the mean and covariance of the style's by
   whitening-coloring.
2. **Texture.** From the coarsest scale of a Laplacian pyramid to the finest, the picture is mixed
   with itself rebuilt of the style's patches,

   .. math:: x_l \leftarrow (1 - t)\, x_l + t\, R_s(x_l + s\, b^s_l), \qquad
             x_{l-1} = U \bigl( (1 - k)\, x_l + k\, c_l \bigr) + b^c_{l-1},

   where :math:`c` is the content in the style's colours, :math:`b` are bands, and :math:`R_s` takes
   the patches whose whitened features are nearest (:mod:`patches`). A little of the style's own
   bands decides which those are where the content is flat; they fit together there, and the one
   that is nearest everywhere is not repeated.
3. **Colours again**, as averages of patches are paler, until the bytes have the style's
   (:mod:`colours`).
"""

from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

import torch
from torch import Tensor

from colours import Pixels, match, recolour
from common.checks import choose, require
from covlayers import WhiteningColoring
from covlayers.functional import METHODS
from patches import FEATURES, SIDE, StylePatches, rebuild
from pictures import to_bytes
from pyramid import band, enlarge, pyramid, resize

TEXTURE = 0.75
""":math:`t`, the share of the rebuilt picture."""

KEEP = 0.4
""":math:`k`, how much of the content returns at each scale."""

SEED = 0.4
""":math:`s`, how much of the style's bands steers the match."""


class Stylised(NamedTuple):
    """A picture, and how near its colours came to the style's before it was blended."""

    picture: Tensor
    distance: float
    steps: int


def tile(x: Tensor, like: Tensor) -> Tensor:
    """A picture, mirrored at its edges as often as it takes to cover another."""

    def fold_back(length: int, wanted: int) -> Tensor:
        place = torch.arange(wanted) % (2 * length)
        return torch.minimum(place, 2 * length - 1 - place)

    rows, columns = map(fold_back, x.shape[-2:], like.shape[-2:])
    return x[..., rows[:, None], columns]


def shrink(x: Tensor | None, longest: int) -> Tensor | None:
    """A picture or mask :math:`(*, H, W)` whose longer side has at most ``longest`` pixels."""
    if x is None or max(x.shape[-2:]) <= longest:
        return x
    height, width = (max(1, round(length * longest / max(x.shape[-2:]))) for length in x.shape[-2:])
    return resize(x.reshape(1, -1, *x.shape[-2:]), height, width).reshape(
        *x.shape[:-2], height, width
    )


@dataclass(frozen=True)
class StyleTransfer:
    """Whitening-coloring of pixels and of patches.

    Args:
        alpha: strength in [0, 1]; at 0 the content comes back.
        levels: scales below the finest; the more, the larger what is taken from the style. There
            are fewer where a picture is too small for them, and no texture below 16 pixels.
        groups: groups of the features of a patch, which whitening-coloring transforms one by one;
            24 is adaptive instance normalisation. Colours have three groups if this is a multiple
            of three, else one.
        method: how matrix roots are computed, a name of ``covlayers.functional.METHODS``.

    Raises:
        ValueError: if an option is out of range.
    """

    alpha: float = 1.0
    levels: int = 3
    groups: int = 1
    method: str = "auto"

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 1, "alpha", "a number in [0, 1]", self.alpha)
        require(self.levels >= 0, "levels", "a number of scales, at least 0", self.levels)
        divides = self.groups > 0 and FEATURES % self.groups == 0
        require(divides, "groups", f"a divisor of {FEATURES}", self.groups)
        choose("method", METHODS, self.method)

    def layer(self, groups: int) -> WhiteningColoring:
        """Whitening-coloring at full strength."""
        return WhiteningColoring(num_groups=groups, eps=1e-6, method=self.method)

    @torch.no_grad()
    def __call__(
        self,
        content: Tensor,
        style: Tensor,
        content_mask: Tensor | None = None,
        style_mask: Tensor | None = None,
    ) -> Stylised:
        """Stylise a picture.

        A style of one colour, or such content, gives a picture of the style's mean colour.

        Args:
            content: :math:`(3, H, W)` in [0, 1].
            style: :math:`(3, H', W')` in [0, 1]; its texture is taken from a copy that is no larger
                than the content.
            content_mask: :math:`(H, W)` in [0, 1]; where it is 0 the content stays,
                and where it is between it is blended.
            style_mask: :math:`(H', W')` in [0, 1]; where it is 0 the style does not count.
        """
        x = Pixels(content[None], None if content_mask is None else (content_mask > 0)[None, None])
        s = Pixels(style[None], None if style_mask is None else style_mask[None, None])
        whole, off, steps = self.whole(x, s)
        strength = self.alpha if content_mask is None else self.alpha * content_mask
        blended = to_bytes(content + strength * (whole[0] - content)).float() / 255
        return Stylised(blended, off, steps)

    def whole(self, content: Pixels, style: Pixels) -> Stylised:
        """A batch of one picture at full strength."""
        if content.flat() or style.flat():
            mean, _ = style.moments()
            flat = mean[None, ..., None].expand_as(content.values)
            return Stylised(flat, float(not style.flat()), 0)
        layer = self.layer(gcd(self.groups, 3))
        coloured = recolour(content, style, layer).clamp(0, 1)
        textured = self.texture(Pixels(coloured, content.mask), style)
        return Stylised(*match(Pixels(textured, content.mask), style, layer))

    def texture(self, content: Pixels, style: Pixels) -> Tensor:
        """The content, already in the style's colours, made of the style's patches."""
        longest = max(content.values.shape[-2:])
        theirs = shrink(style.values, longest)
        smallest = min(*content.values.shape[-2:], *theirs.shape[-2:])
        levels = min(self.levels, (smallest // (2 * SIDE)).bit_length() - 1)
        if levels < 0:
            return content.values
        ours, theirs = pyramid(content.values, levels), pyramid(theirs, levels)
        masks, style_masks = (
            [None] * (levels + 1) if mask is None else pyramid(mask.float(), levels)
            for mask in (content.mask, shrink(style.mask, longest))
        )
        align = self.layer(self.groups)
        x = ours[-1]
        for level in reversed(range(levels + 1)):
            if level < levels:
                back = torch.lerp(x, ours[level + 1], KEEP)
                x = enlarge(back, ours[level]) + band(ours, level)
            steered = x + SEED * tile(band(theirs, level), x) if level < levels else x
            patches = StylePatches.draw(theirs[level], style_masks[level])
            x = torch.lerp(x, rebuild(steered, patches, align, masks[level]), TEXTURE)
        return x
