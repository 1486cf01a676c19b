"""
What whitening does to features
===============================

Batch normalisation gives each channel mean 0 and variance 1. Whitening also takes away what the
channels have in common. Both are shown here on the pixels of photographs: two channels to see the
points, sixteen to see the covariance, 64 to see the filters.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch import nn
from torch.nn.functional import pixel_unshuffle

from covlayers import (
    CholeskyWhitening,
    DecorrelatedBatchNorm,
    IterNorm,
    PCAWhitening,
    ZCAWhitening,
)
from covlayers.functional import covariance

# %%
# Two channels
# ------------
#
# Take red and blue of a photograph. A :class:`~covlayers.DecorrelatedBatchNorm` whitens them, and
# its ``kind`` chooses among the matrices with :math:`W \Sigma W^\top = I`
# :cite:p:`kessy2018optimal`. Each point has the colour of its pixel.

photograph = torch.from_numpy(data.cat()[::7, ::7]).float() / 255
pixels = photograph.flatten(0, 1)  # (positions, 3)
red_blue = pixels[:, [0, 2]]

norms = {
    "centred": lambda x: x - x.mean(0),
    "BatchNorm": nn.BatchNorm1d(2, affine=False),
    "ZCA": DecorrelatedBatchNorm(2, eps=1e-5, affine=False, kind="zca"),
    "PCA": DecorrelatedBatchNorm(2, eps=1e-5, affine=False, kind="pca"),
    "Cholesky": DecorrelatedBatchNorm(2, eps=1e-5, affine=False, kind="cholesky"),
}

figure, panels = plt.subplots(
    1, 5, figsize=(9, 2.4), layout="constrained", sharex=True, sharey=True
)
for axes, (name, norm) in zip(panels, norms.items(), strict=True):
    axes.scatter(*norm(red_blue).T, c=pixels, s=3)
    axes.set(title=name, xlabel="first channel", aspect="equal", xlim=(-5, 5), ylim=(-5, 5))
_ = panels[0].set_ylabel("second channel")

# %%
# Batch normalisation scales the axes and leaves the cloud tilted. The other three make it round,
# and differ by a rotation: ZCA moves the points least, PCA puts the direction of largest variance
# first, and Cholesky keeps the first channel and takes from the second what the first tells.
#
# Sixteen channels
# ----------------
#
# The pixels of :math:`4 \times 4` patches are sixteen channels, each patch a position. A group is
# four channels, here a row of the patch.

picture = torch.from_numpy(data.camera()).float()[None, None] / 255
patches = pixel_unshuffle(picture, 4)  # (1, 16, 128, 128)

norms = {
    "BatchNorm": nn.BatchNorm2d(16, affine=False),
    "4 groups": DecorrelatedBatchNorm(16, num_groups=4, eps=1e-5, affine=False),
    "IterNorm": IterNorm(16, eps=1e-5, affine=False),
    "1 group": DecorrelatedBatchNorm(16, eps=1e-5, affine=False),
}
covariances = {name: covariance(norm(patches)[0].flatten(1)) for name, norm in norms.items()}

figure, panels = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for axes, (name, A) in zip(panels, covariances.items(), strict=True):
    image = axes.imshow(A, cmap="RdBu_r", vmin=-1, vmax=1)
    axes.set(title=name, xticks=[], yticks=[])
_ = figure.colorbar(image, ax=panels, label="covariance", shrink=0.8)

# %%
# Groups remove the correlation within a row of the patch and leave that between rows. The five
# Newton-Schulz steps of :class:`~covlayers.IterNorm` remove most of the covariance, but of the
# variance too. One group with the exact root gives the identity.
#
# The spectra say why.

colours = ["#ff7f0e", "#2ca02c", "#d62728", "#1f77b4"]
figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for (name, A), colour in zip(covariances.items(), colours, strict=True):
    values = torch.linalg.eigvalsh(A.double()).flip(0)
    axes.semilogy(range(1, 17), values, "o-", color=colour, markersize=4, label=name)
axes.set(xlabel="index of the eigenvalue", ylabel="eigenvalue")
axes.grid(alpha=0.4)
_ = figure.legend(loc="outside lower center", ncols=4)

# %%
# Batch normalisation leaves one eigenvalue far above the rest, as neighbouring pixels are nearly
# equal. Five steps bring it to one and leave the small ones small :cite:p:`huang2019iterative`.
# Groups raise those in the middle, but the smallest is no larger than before. The exact root
# whitens all that exceed ``eps``.
#
# Filters
# -------
#
# A row of a whitening matrix is a filter. Patches of :math:`8 \times 8` have 64 filters.

kinds = {
    "ZCA": ZCAWhitening(patch_size=8),
    "PCA": PCAWhitening(patch_size=8),
    "Cholesky": CholeskyWhitening(patch_size=8),
}
diagonal = range(0, 64, 9)  # the pixels from the upper left of a patch to the lower right
rows = {"ZCA": diagonal, "PCA": range(8), "Cholesky": diagonal}

figure, panels = plt.subplots(3, 8, figsize=(8, 3.2), layout="constrained")
for line, (name, whitening) in zip(panels, kinds.items(), strict=True):
    W, _ = whitening.fit(picture).matrices()
    line[0].set_ylabel(name)
    for axes, row in zip(line, rows[name], strict=True):
        bound = W[row].abs().max()
        axes.imshow(W[row].view(8, 8), cmap="RdBu_r", vmin=-bound, vmax=bound)
        axes.set(xticks=[], yticks=[])

# %%
# A ZCA filter takes from a pixel what its neighbours on all sides tell
# :cite:p:`bell1997independent`. PCA filters are waves over the whole patch, the first its mean. A
# Cholesky filter takes from a pixel what the pixels before it tell, and has nothing after it.
