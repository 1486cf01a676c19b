r"""
Gradients as two eigenvalues meet
=================================

The derivative of an eigenvector divides by the gap between two eigenvalues; the derivative of a
matrix function does not. Here two eigenvalues, 1 and :math:`1 - g`, meet, and every backward rule
of :doc:`the atlas </atlas>` is held against the closed form: first for the roots, then for the
eigenvectors themselves.
"""

import matplotlib.pyplot as plt
import torch

from covlayers.functional import (
    BACKWARDS,
    Autograd,
    ClippedGaps,
    Eigh,
    ExactGaps,
    Loewner,
    LorentzianGaps,
    Lyapunov,
    PadeGaps,
    PowerIteration,
    Smith,
    TaylorGaps,
    TruncatedGaps,
    Unrolled,
    eigh,
    invsqrtm,
    sqrtm,
)

torch.manual_seed(0)

# %%
# Matrices whose spectrum is known
# --------------------------------
#
# The eigenvalues are 0.1, :math:`1 - g` and 1, and 16 random rotations :math:`U` hide them. Each
# rotation has an arriving gradient :math:`G` of its own. What is drawn is the worst of the 16.

gaps = torch.logspace(-15, -1, 57, dtype=torch.float64)
values = torch.stack([torch.full_like(gaps, 0.1), 1 - gaps, torch.ones_like(gaps)], -1)[:, None]
U = torch.linalg.qr(torch.randn(16, 3, 3, dtype=torch.float64)).Q
A = (U * values[..., None, :]) @ U.mT  # (gaps, rotations, 3, 3)
A = (A + A.mT) / 2
G = torch.randn(16, 3, 3, dtype=torch.float64)
G = (G + G.mT) / 2

# %%
# The roots
# ---------
#
# The true gradient is :math:`U (L \circ U^\top G\, U) U^\top`, with the divided differences
# :math:`L` written without a gap (:doc:`derivation </derivations/loewner>`).


def gradient(function, A, rule):
    """The gradient of <G, function(A)>, by one rule."""
    A = A.clone().requires_grad_()
    loss = (G * function(A, method=Eigh(), backward=rule)).sum()
    return torch.autograd.grad(loss, A)[0]


def relative_error(found, true):
    """In Frobenius norm."""
    return torch.linalg.matrix_norm(found - true) / torch.linalg.matrix_norm(true)


a, b = values.sqrt()[..., :, None], values.sqrt()[..., None, :]
divided_differences = {sqrtm: 1 / (a + b), invsqrtm: -1 / (a * b * (a + b))}
families = {
    "no gap": [Loewner(), Smith(), Lyapunov(), Unrolled()],
    "the gap": [Autograd(), ExactGaps(), PadeGaps(), TruncatedGaps(), LorentzianGaps()],
    "a damped gap": [ClippedGaps(), TaylorGaps(), PowerIteration()],
}
colours = ["#2a87c8", "#d55e00", "#009e73", "#cc79a7", "#e69f00"]
lines = ["-", "--", ":", "-.", (0, (4, 1, 1, 1, 1, 1))]

figure, grid = plt.subplots(2, 3, figsize=(8, 5.6), sharex=True, sharey=True, layout="constrained")
for row, (function, L) in zip(grid, divided_differences.items(), strict=True):
    true = U @ (L * (U.mT @ G @ U)) @ U.mT
    row[0].set_ylabel(f"{function.__name__}, gradient error")
    for axes, rules in zip(row, families.values(), strict=True):
        for rule, colour, line in zip(rules, colours, lines, strict=False):
            error = relative_error(gradient(function, A, rule), true).amax(-1)
            name = type(rule).__name__
            axes.loglog(gaps, error, linestyle=line, color=colour, label=name, linewidth=2)
        axes.grid(alpha=0.25)
for axes, title in zip(grid[0], families, strict=True):
    axes.set_title(title)
for axes in grid[1]:
    axes.set_xlabel("relative gap $g$")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), fontsize=9)

# %%
# **A matrix function has no singularity to repair, and a rule that makes one loses digits to it.**
# On the left no gap is formed. :class:`~covlayers.functional.Loewner`,
# :class:`~covlayers.functional.Smith` and, on a spectrum as mild as this,
# :class:`~covlayers.functional.Lyapunov` stay at rounding; :class:`~covlayers.functional.Unrolled`
# has the error of three Newton-Schulz steps, whatever the gap. In the middle each digit of the gap
# costs a digit of the gradient, also through ``torch.linalg.eigh``, which is
# :class:`~covlayers.functional.Autograd` here. :class:`~covlayers.functional.TruncatedGaps` gives
# up the entry between the two eigenvectors below :math:`10^{-10}`,
# :class:`~covlayers.functional.LorentzianGaps` around :math:`10^{-6}`. On the right that entry is
# damped from wider gaps on, and then lost; with :class:`~covlayers.functional.PowerIteration` the
# deflation error takes its place.
#
# The rounding in the middle is :math:`\epsilon/g`. In float32 it is a factor of :math:`2^{29}`
# higher, and no digit is left at a gap of :math:`10^{-7}`.
#
# At the tie itself the gap rules take the limit, and only PyTorch's own derivative has none. These
# are the errors at the identity matrix, where the true gradient of the root is :math:`G/2`:

for name in BACKWARDS:
    found = gradient(sqrtm, torch.eye(3, dtype=G.dtype).expand_as(G), name)
    print(f"{name:16} {relative_error(found, G / 2).max():7.0e}")

# %%
# The eigenvectors
# ----------------
#
# The gradient of an eigenvector does have the singularity, :math:`1/g`. A rule that bounds it
# chooses what to return in its place (:doc:`what each makes of a pair </atlas>`).

figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
curves = {
    "ExactGaps()": (ExactGaps(), "#2a87c8", "-", 7),
    "PadeGaps(50)": (PadeGaps(50), "#56b4e9", "-", 3.5),
    "Autograd()": (Autograd(), "#d55e00", ":", 2),
    "TruncatedGaps(1e10)": (TruncatedGaps(1e10), "#009e73", "-", 2),
    "LorentzianGaps(1e-12)": (LorentzianGaps(1e-12), "#e69f00", "-", 2),
    "TaylorGaps(100)": (TaylorGaps(100), "#a070c0", "-", 2),
    "ClippedGaps(0.01)": (ClippedGaps(0.01), "#009e73", "--", 2),
    "PowerIteration(19)": (PowerIteration(19), "#cc79a7", "-", 2),
    "TaylorGaps(9)": (TaylorGaps(9), "#a070c0", "--", 2),
}
for name, (rule, colour, line, width) in curves.items():
    inputs = A.clone().requires_grad_()
    vectors = eigh(inputs, backward=rule)[1]
    slope = torch.autograd.grad((G * vectors).sum(), inputs)[0]
    norm = torch.linalg.matrix_norm(slope).amax(-1)
    axes.loglog(gaps, norm, line, color=colour, label=name, linewidth=width)
axes.set(xlabel="relative gap $g$", ylabel="norm of the gradient")
axes.grid(alpha=0.25)
_ = figure.legend(loc="outside right upper", fontsize=9)

# %%
# **Eigenvectors have a singularity, and each repair bounds it at a level of its own.** The clipped
# rule stops at :math:`1/\delta = 100`, a series at the number of its terms, the truncated rule at
# :math:`10^{10}`; the Lorentzian one turns round at :math:`10^{-6}` and fades. Above machine
# epsilon the Padé rule is the exact one (:doc:`0001 </decisions/0001-pade-gaps>`). Where a line
# leaves the diagonal, its rule no longer gives the gradient: the steps of the training are finite,
# in a direction that the loss did not ask for :cite:p:`wang2021robust`.
