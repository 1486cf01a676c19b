r"""
Error floors of the published defaults
======================================

Five Newton-Schulz steps, a Taylor polynomial of degree 10, a Padé approximant of degree 5: the
published layers stop early. This script measures the errors of their values and gradients as the
condition number grows, in float64 to see what the methods leave out, then in float32 to see what
rounding adds.
"""

import matplotlib.pyplot as plt
import torch

from covlayers.functional import (
    Eigh,
    NewtonSchulz,
    Pade,
    PolarExpress,
    Taylor,
    invsqrtm,
    sqrtm,
)

torch.manual_seed(0)

METHODS = {
    "Taylor(10)": (Taylor(10), "#d55e00", "-"),
    "NewtonSchulz(5)": (NewtonSchulz(5), "#009e73", "-"),
    "Pade(5)": (Pade(5), "#e69f00", "-"),
    "PolarExpress()": (PolarExpress(), "#cc79a7", "--"),
    "Eigh()": (Eigh(), "#2a87c8", "-"),
    "Eigh(refine=True)": (Eigh(refine=True), "#2a87c8", ":"),
}

# %%
# Matrices and truth
# ------------------
#
# Eigenvalues are log-spaced from 1 down to :math:`1/\kappa`, hidden by random rotations. Both
# truths follow from the spectrum: the value :math:`U f(\Lambda) U^\top`, and the gradient
# :math:`U (L \circ U^\top G\, U) U^\top` with the divided differences :math:`L` of :math:`f`
# (:doc:`derivation </derivations/loewner>`). Errors are relative in Frobenius norm, the worst of
# eight matrices of 16 rows.

U = torch.linalg.qr(torch.randn(8, 16, 16, dtype=torch.float64)).Q
G = torch.randn(8, 16, 16, dtype=torch.float64)
G = (G + G.mT) / 2


def truth(function, values, vectors):
    """Value and gradient, from a spectrum in float64."""
    roots = values.sqrt()
    f = roots if function is sqrtm else 1 / roots
    a, b = roots[..., :, None], roots[..., None, :]
    L = 1 / (a + b) if function is sqrtm else -1 / (a * b * (a + b))
    value = (vectors * f[..., None, :]) @ vectors.mT
    return value, vectors @ (L * (vectors.mT @ G @ vectors)) @ vectors.mT


def computed(function, method, A):
    """Value and gradient, by a method and its default rule."""
    A = A.clone().requires_grad_()
    value = function(A, method=method)
    return value.detach(), torch.autograd.grad((G.to(A) * value).sum(), A)[0]


def worst(found, true):
    """The largest relative error of a batch."""
    norm = torch.linalg.matrix_norm
    return (norm(found - true) / norm(true)).amax(-1)


def draw(conditions, A, values, vectors):
    """Errors of value and gradient, of both roots."""
    figure, grid = plt.subplots(
        2, 2, figsize=(7.5, 6.2), sharex=True, sharey=True, layout="constrained"
    )
    for column, function in zip(grid.T, (sqrtm, invsqrtm), strict=True):
        true = truth(function, values, vectors)
        for name, (method, colour, line) in METHODS.items():
            found = computed(function, method, A)
            for axes, x, y in zip(column, found, true, strict=True):
                axes.loglog(conditions, worst(x, y), line, color=colour, label=name, linewidth=2)
        column[0].set_title(function.__name__)
        column[1].set_xlabel(r"condition number $\kappa$")
    for row, what in zip(grid, ("value", "gradient"), strict=True):
        row[0].set_ylabel(f"relative error of the {what}")
    for axes in grid.flat:
        axes.grid(alpha=0.25)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)


# %%
# float64: the floors alone
# -------------------------

conditions = torch.logspace(1, 8, 29, dtype=torch.float64)
values = conditions[:, None, None] ** torch.linspace(-1, 0, 16, dtype=torch.float64)
A = (U * values[..., None, :]) @ U.mT  # (conditions, matrices, 16, 16)
A = (A + A.mT) / 2
draw(conditions, A, values, U)

# %%
# **The defaults leave out the small eigenvalues.** They keep most of the root, since the large
# eigenvalues make up its norm, and lose its gradient, since the small ones make up the norm of the
# gradient. They lose both value and gradient of the inverse root: an error of one means that next
# to nothing is left. Only at a condition number of ten are two or three digits right, by the Padé
# approximant.
#
# The exact methods lose to the condition number what rounding costs, and no more.
# ``PolarExpress()`` starts about two digits above ``Eigh()``, and stays there for the value of the
# root alone.
#
# float32: the floors and the rounding
# ------------------------------------
#
# The truth is now computed from the matrices as float32 holds them. The condition number ends at
# :math:`10^6`: beyond, float32 no longer holds the smallest eigenvalues.

single = A[conditions <= 1.01e6].float()
draw(conditions[conditions <= 1.01e6], single, *torch.linalg.eigh(single.double()))

# %%
# **Rounding does not move the floors: it costs the exact methods digits, and they stay below every
# default.** At :math:`10^6` about two digits of the gradient of the inverse root are left.
# ``refine=True``, the default of the inverse root on a CPU, puts back some of what the
# decomposition lost.
#
# What becomes of one small eigenvalue
# ------------------------------------
#
# Each method takes a float32 matrix with the eigenvalues :math:`\lambda` and 1. The table shows
# what it returns at :math:`\lambda = 10^{-9}`, where the root is 3e-5 and the inverse root 3e4, and
# the smallest :math:`\lambda` down to which the root, the inverse root and the slope of the inverse
# root are within 10% of the truth.

small = torch.logspace(-9, 0, 721)


def resolved(found, true):
    """The smallest eigenvalue down to which all are within 10%."""
    wrong = ((found - true).abs() > 0.1 * true.abs()).nonzero()
    return small[wrong.max() + 1] if len(wrong) else small[0]


print("                   at 1e-9           within 10% down to")
print("                   root     inverse  root     inverse  slope")
for name, (method, *_) in METHODS.items():
    B = torch.diag_embed(torch.stack([small, torch.ones_like(small)], -1)).requires_grad_()
    Y, Z = (f(B, method=method)[:, 0, 0] for f in (sqrtm, invsqrtm))
    slope = torch.autograd.grad(Z.sum(), B)[0][:, 0, 0]
    pairs = ((Y, small.sqrt()), (Z, small.rsqrt()), (slope, -0.5 * small**-1.5))
    row = [Y[0].item(), Z[0].item(), *(resolved(found, true).item() for found, true in pairs)]
    print(f"{name:17}" + "".join(f"{x:9.1e}" for x in row))

# %%
# **Below its floor the inverse root is a constant, so the method regularises**: at 3.7 (Taylor),
# 7.6 (Newton-Schulz) and 11 (Padé), :doc:`as the formulas say </choosing>`, while its slope is
# lost earlier still. That is part of the published layers, and may be what makes them train well
# :cite:p:`song2021approximate`; it is not whitening. The exact methods have floors as well, where
# float32 ends. A floor at a number of your own is what ``eps`` is for.
