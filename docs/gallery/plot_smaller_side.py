r"""
The smaller side of a covariance
================================

With fewer positions than channels a covariance has directions without features, in which nothing is
to be computed. A function of it then follows from matrices of :math:`M \times M`, for :math:`M`
positions, in place of :math:`C \times C` (:doc:`derivation </derivations/smaller_side>`). This
script measures the time of both sides, and the error of their gradients, as 128 channels get more
positions.
"""

import time

import matplotlib.pyplot as plt
import torch

from covlayers.functional import covariance_function, select

torch.manual_seed(0)

N, C = 8, 128
TICKS = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]
POSITIONS = [4, 8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192]
SIDES = {"channels": "#d55e00", "positions": "#2a87c8"}
SPECTRA = {"$1/i$": (1, "-"), "$1/i^2$": (2, "--")}

# %%
# Features and truth
# ------------------
#
# Channel :math:`i` has the variance :math:`1/i` or :math:`1/i^2`, before a random rotation mixes
# the channels. ``eps`` is 1e-5 of the mean eigenvalue, and the function is the root, in float32.
#
# The truth is written out in float64, on the side of the channels. With the centred features
# :math:`X = (x - \mu)/\sqrt M`, :math:`X X^\top + \varepsilon I = V \Lambda V^\top` and an arriving
# gradient :math:`G`, it is
#
# .. math:: g_x = \frac{2}{\sqrt M}\, V \bigl( L \circ V^\top G\, V \bigr) V^\top X, \qquad
#           L_{ij} = \frac{1}{\sqrt{\lambda_i} + \sqrt{\lambda_j}} .

rotation = torch.linalg.qr(torch.randn(C, C)).Q
G = torch.randn(N, C, C)
G = (G + G.mT) / 2


def draw(M, power):
    """Features ``(N, C, M)`` and an ``eps`` for their covariance."""
    scale = torch.arange(1.0, C + 1)[:, None] ** (-power / 2)
    x = rotation @ (scale * torch.randn(N, C, M))
    return x, 1e-5 * x.var(-1, correction=0).mean().item()


def truth(x, eps):
    """The gradient of <G, root>, in float64."""
    x, M = x.double(), x.shape[-1]
    X = (x - x.mean(-1, keepdim=True)) / M**0.5
    values, V = torch.linalg.eigh(X @ X.mT)
    roots = (values.clamp_min(0) + eps).sqrt()
    L = 1 / (roots[..., :, None] + roots[..., None, :])
    return 2 / M**0.5 * V @ (L * (V.mT @ G.double() @ V)) @ V.mT @ X


def gradient(x, eps, side):
    """The gradient of <G, root>, by one side."""
    x = x.clone().requires_grad_()
    Y = covariance_function(x, "sqrtm", eps=eps, side=side)
    return torch.autograd.grad(Y, x, G)[0]


def worst(found, true):
    """The largest relative error of a batch, in Frobenius norm."""
    norm = torch.linalg.matrix_norm
    return (norm(found - true) / norm(true)).max().item()


# %%
# Time and error
# --------------
#
# Times are of forward and backward, the least of five runs on one thread. Errors are the worst of
# eight matrices, relative in Frobenius norm. The dotted line is the largest :math:`M/C` of these at
# which ``side="auto"`` takes the positions on a CPU, as :func:`~covlayers.functional.select` tells.


def milliseconds(x, eps, side):
    """Of one run."""
    start = time.perf_counter()
    gradient(x, eps, side)
    return 1000 * (time.perf_counter() - start)


threads = torch.get_num_threads()
torch.set_num_threads(1)
times = {side: [] for side in SIDES}
errors = {(side, name): [] for side in SIDES for name in SPECTRA}
for M in POSITIONS:
    for name, (power, _) in SPECTRA.items():
        x, eps = draw(M, power)
        true = truth(x, eps)
        for side in SIDES:
            errors[side, name].append(worst(gradient(x, eps, side), true))
    x, eps = draw(M, 1)
    runs = [[milliseconds(x, eps, side) for side in SIDES] for _ in range(5)]
    for side, some in zip(SIDES, zip(*runs, strict=True), strict=True):
        times[side].append(min(some))
torch.set_num_threads(threads)


def takes_positions(M):
    """Whether ``side="auto"`` does."""
    return "positions" in select(torch.empty(C, M), of_covariance=True).implementation


change = max(M for M in POSITIONS if takes_positions(M)) / C
shares = [M / C for M in POSITIONS]

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.2), layout="constrained")
for side, colour in SIDES.items():
    left.plot(shares, times[side], color=colour, linewidth=2)
    for name, (_, line) in SPECTRA.items():
        label = f"{side}, variances {name}"
        right.semilogy(shares, errors[side, name], line, color=colour, label=label, linewidth=2)
left.set(title="time", ylabel="ms, forward and backward", ylim=(0, None))
right.set(title="error", ylabel="relative error of the gradient")
for axes in (left, right):
    axes.axvline(change, color="grey", linestyle=":")
    axes.set(xlabel="positions / channels, $M/C$", xlim=(0, 1.55), xticks=TICKS)
    axes.grid(alpha=0.25)
for text, aligned in (("auto: positions ", "right"), (" channels", "left")):
    place = {"transform": left.get_xaxis_transform(), "ha": aligned, "va": "top"}
    left.text(change, 0.97, text, color="grey", **place)
_ = figure.legend(loc="outside lower center", ncols=2)

# %%
# **Few positions cost less.** At a quarter as many positions as channels a step takes less than
# half of the time. The gain ends before there are as many positions as channels, as the cost of an
# eigendecomposition of :math:`M \times M` grows with :math:`M^3`.
#
# **They round less, however many they are.** The channels have to find small eigenvalues, of the
# features or ``eps`` itself, beside the largest one, and its rounding is as large as they are. The
# positions read the eigenvalues off the lengths of vectors, in which nothing cancels, and ``eps``
# is exact. The error is a few roundings of float32, for the steep spectrum too.
