"""
Style transfer in closed form
=============================

Whitening takes mean and covariance away from the features of a picture, and coloring gives them the
mean and covariance of another picture :cite:p:`li2017universal`. Nothing is learnt. Here the
features are pixels, then patches, of photographs that come with scikit-image and scikit-learn.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from skimage.color import gray2rgb
from skimage.transform import resize
from sklearn.datasets import load_sample_image
from torch.nn.functional import fold, unfold

from covlayers import AdaIN, WhiteningColoring
from covlayers.functional import covariance


def picture(array):
    """A photograph (1, 3, 134, 200), in [0, 1]."""
    return torch.from_numpy(resize(array, (134, 200), anti_aliasing=True)).permute(2, 0, 1)[None]


def show(axes, x, title):
    """Draw a picture, clipped to what a screen can show."""
    axes.imshow(x[0].permute(1, 2, 0).clamp(0, 1))
    axes.set(title=title, xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


content = picture(load_sample_image("china.jpg"))
style = picture(data.rocket())

# %%
# Colours
# -------
#
# The features are the three colours of a pixel. :class:`~covlayers.WhiteningColoring` is called
# with content and style, and ``alpha`` blends its result with the content.

figure, panels = plt.subplots(1, 4, figsize=(9, 1.9), layout="constrained")
show(panels[0], content, "content")
for axes, alpha in zip(panels[1:], (0.5, 1), strict=False):
    show(axes, WhiteningColoring(alpha)(content, style), f"alpha = {alpha:g}")
show(panels[3], style, "style")

# %%
# The picture keeps its shapes and takes on the colours of the style.
#
# Variances or covariances
# ------------------------
#
# AdaIN :cite:p:`huang2017arbitrary` transfers the mean and variance of each channel alone. Below
# each picture are red and blue of its pixels, each point in the colour of its pixel.


def missed(x):
    """The relative distance between the covariances of the colours and of the style."""
    A, target = (covariance(colours[0].flatten(1)) for colours in (x, style))
    return (A - target).norm() / target.norm()


results = {
    "content": content,
    "AdaIN": AdaIN()(content, style),
    "whitening-coloring": WhiteningColoring()(content, style),
    "style": style,
}

figure, panels = plt.subplots(2, 4, figsize=(9, 4), layout="constrained", height_ratios=(2, 3))
for (above, below), (name, x) in zip(panels.T, results.items(), strict=True):
    show(above, x, name)
    pixels = x[0].flatten(1)[:, ::13]
    below.scatter(pixels[0], pixels[2], c=pixels.T.clamp(0, 1), s=3)
    below.set(xlim=(-0.3, 1.1), ylim=(-0.3, 1.1), aspect="equal", xlabel="red")
_ = panels[1, 0].set_ylabel("blue")

print("distance of the covariance from the covariance of the style")
for name in ("AdaIN", "whitening-coloring"):
    x = results[name]
    print(f"{name:18} {missed(x):7.2%}, clipped {missed(x.clamp(0, 1)):7.2%}")

# %%
# AdaIN gives the cloud the extent of the style along each axis, and leaves the channels correlated
# as they were. Whitening-coloring gives them the correlation of the style too, to within ``eps``.
# What leaves the range of the screen is clipped, and then it is no longer exact.
#
# Patches
# -------
#
# The covariance of pixels knows nothing of their neighbours. The covariance of :math:`8 \times 8`
# patches does, and it is transferred in the same way: cut the pictures into overlapping patches of
# 192 numbers, transform these, and average them where they overlap.


def by_patches(layer, content, style, side=8, stride=2):
    """The content made of its own patches, transformed to have the covariance of the style's."""
    x, s = (unfold(z, side, stride=stride) for z in (content, style))
    size = content.shape[-2:]
    total, count = (fold(y, size, side, stride=stride) for y in (layer(x, s), torch.ones_like(x)))
    return total / count


content = picture(data.cat())
styles = {
    "grass": picture(gray2rgb(data.grass()[:342])),
    "retina": picture(data.retina()[235:1175]),
}
layer = WhiteningColoring()

figure, panels = plt.subplots(2, 4, figsize=(9, 3.6), layout="constrained")
for row, (name, style) in zip(panels, styles.items(), strict=True):
    show(row[0], content, "content")
    show(row[1], layer(content, style), "colours")
    show(row[2], by_patches(layer, content, style), "patches")
    show(row[3], style, name)

# %%
# Patches also carry over the contrast, from fine to coarse. Grass has much of the fine, so the
# edges of the content stand out; the retina has little, and the content blurs. Blades and vessels
# do not come along: a covariance holds no shapes. :doc:`/style_transfer` goes on to masks, mixed
# styles and networks.
