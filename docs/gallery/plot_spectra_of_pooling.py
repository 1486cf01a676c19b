"""
Spectra before and after pooling
================================

A covariance has a few large eigenvalues and many small ones, and a linear classifier sees almost
only the large ones. A covariance pooling evens them out. How far depends on the function, and on
how it is computed: the published presets of one root differ by what they make of the small
eigenvalues.
"""

import matplotlib.pyplot as plt
import torch
from skimage import data
from torch.nn.functional import unfold

from covlayers import CovPool, ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool
from covlayers.functional import triu_matrix

# %%
# Features
# --------
#
# Three textures, cut into 48 pictures of :math:`128 \times 128`. The 64 channels are the pixels of
# an :math:`8 \times 8` patch, and the positions are the patches. In float64 no eigenvalue is lost
# to rounding.

textures = torch.stack([torch.from_numpy(t()) for t in (data.brick, data.grass, data.gravel)])
pictures = textures.double().unfold(1, 128, 128).unfold(2, 128, 128).reshape(48, 1, 128, 128) / 255
features = unfold(pictures, 8, stride=4)  # (48, 64, 961)

# %%
# Roots and powers
# ----------------
#
# A pooling returns the upper triangle of its matrix, and
# :func:`~covlayers.functional.triu_matrix` makes it a matrix again. ``CovPool(function=1)`` is the
# covariance itself.


def spectra(pool):
    """The eigenvalues of the pooled matrices, largest first: (48, 64)."""
    return torch.linalg.eigvalsh(triu_matrix(pool(features), 64)).flip(-1)


pools = {
    "covariance": (CovPool(function=1), "grey", "-"),
    "MPN-COV, exact root": (MPNCovPool(), "#1f77b4", "-"),
    "iSQRT-COV, Newton-Schulz(5)": (ISQRTCovPool(), "#2ca02c", "--"),
    "MPA, Pade(5)": (MPACovPool(), "#ff7f0e", "-"),
    "MTP, Taylor(10)": (MTPCovPool(), "#d62728", "-"),
    "power 0.3": (CovPool(function=0.3), "#9467bd", "-."),
}
values = {name: spectra(pool) for name, (pool, _, _) in pools.items()}

figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
for name, (_, colour, line) in pools.items():
    relative = (values[name] / values[name][:, :1]).median(0).values
    axes.semilogy(range(1, 65), relative, line, color=colour, label=name, linewidth=2)
axes.set(xlabel="index of the eigenvalue", ylabel="fraction of the largest, median")
axes.grid(alpha=0.4)
_ = figure.legend(loc="outside lower center", ncols=2)

# %%
# The root halves the number of decades. Padé and Taylor stop at a floor, :math:`1/11` and 0.176 of
# :math:`\lVert A \rVert_F^{1/2}`, so what is small comes out equal. Newton-Schulz goes the other
# way: it has not converged, and its small eigenvalues fall short of the root.
#
# The same in numbers. The effective rank :cite:p:`roy2007effective` is :math:`e^H` with :math:`H`
# the entropy of the eigenvalues as shares of their sum: 64 were all equal.

print(f"{'median of 48 pictures':28} largest / smallest  effective rank  leading share")
for name, value in values.items():
    share = value / value.sum(-1, keepdim=True)
    rank = torch.special.entr(share).sum(-1).exp().median()
    ratio = (value[:, 0] / value[:, -1]).median()
    print(f"{name:28} {ratio:18.1f} {rank:15.1f} {share[:, 0].median():14.2f}")

# %%
# The logarithm
# -------------
#
# It turns ratios into differences, and the smallest eigenvalues into the largest in magnitude. How
# large, ``eps`` decides, which is added to all of them.

figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for eps, colour in zip((1e-6, 1e-4, 1e-2), ("#1f77b4", "#ff7f0e", "#d62728"), strict=True):
    logarithms = spectra(CovPool(function="log", eps=eps)).median(0).values
    axes.plot(range(1, 65), logarithms, color=colour, label=f"eps = {eps:g}", linewidth=2)
axes.set(xlabel="index of the eigenvalue", ylabel="logarithm, median")
axes.grid(alpha=0.4)
_ = figure.legend(loc="outside lower center", ncols=3)

# %%
# At the head ``eps`` changes nothing. Eigenvalues well below it all come out as its logarithm, so
# it has to be chosen by what the features can tell. :doc:`/pooling` says which normalisation to
# take.
