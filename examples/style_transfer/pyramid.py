r"""Pictures at several scales: the Laplacian pyramid.

A picture :math:`g_0` is halved to :math:`g_1, \dots, g_L`. Of each picture except the last only its
band is kept, :math:`b_l = g_l - U g_{l+1}`, which the next one lacks, with :math:`U` for doubling.
From the coarsest, :math:`g_l = U g_{l+1} + b_l` gives back the picture.
"""

from torch import Tensor
from torch.nn.functional import interpolate


def resize(x: Tensor, height: int, width: int) -> Tensor:
    """A batch of pictures at another size, without aliasing; it stays in [0, 1]."""
    return interpolate(x, (height, width), mode="bilinear", antialias=True).clamp(0, 1)


def halve(x: Tensor) -> Tensor:
    """A batch of pictures at half the size, rounded up."""
    height, width = x.shape[-2:]
    return resize(x, (height + 1) // 2, (width + 1) // 2)


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """A batch of pictures, smooth, at the size of others."""
    return interpolate(x, like.shape[-2:], mode="bicubic")


def pyramid(x: Tensor, levels: int) -> list[Tensor]:
    """The picture and ``levels`` halvings of it, the finest first."""
    scales = [x]
    for _ in range(levels):
        scales.append(halve(scales[-1]))
    return scales


def band(scales: list[Tensor], level: int) -> Tensor:
    """What the next coarser scale cannot tell; the coarsest has none below it and is whole."""
    if level == len(scales) - 1:
        return scales[level]
    return scales[level] - enlarge(scales[level + 1], scales[level])
