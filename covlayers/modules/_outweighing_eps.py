"""Where ``eps`` stands in for variances that the data do not have."""

import math
import warnings

import torch
from torch import Tensor, nn

from covlayers.functional._base.function import readable
from covlayers.functional._base.tensors import full

STEPS = 12
"""Of power iteration: a null direction stands far from others, so a few steps find it."""

OUTWEIGHED = 100
"""How many times the mean variance ``eps`` is, when hardly more than ``eps`` is left."""


def outweighs(eps: float, variance: float) -> bool:
    """Whether hardly more than ``eps`` is left of variances of this mean."""
    return OUTWEIGHED * variance <= eps > 0


def look(layer: nn.Module, eps: float, variances: Tensor) -> bool:
    """Warn where ``eps`` outweighs variances ``(*)``; False if their values are not seen.

    A layer asks until it is True, which on a GPU makes the host wait for it once.
    """
    if not readable(variances, may_wait=True):
        return False
    mean = float(variances.detach().mean()) if variances.numel() else 0.0
    if mean > 0 and outweighs(eps, mean):
        warnings.warn(
            f"{type(layer).__name__} has eps={eps} for features of mean variance {mean:.1e}, which "
            "it outweighs: the regularised covariance is close to a multiple of the identity. "
            "Scale the features, or take a smaller eps.",
            stacklevel=3,
        )
    return True


def has_null_direction(W: Tensor, variances: Tensor, eps: float) -> bool:
    r"""Whether a covariance is singular to rounding, by the matrix :math:`W` that whitens it.

    Of the eigenvalues of :math:`\Sigma + \varepsilon I` the smallest that :math:`W` has part in is
    :math:`1 / \sigma_{\max}(W)^2`. Power iteration never exceeds :math:`\sigma_{\max}`.
    """
    W, variances = full(W), full(variances)
    v = torch.linspace(1, 2, W.shape[1], dtype=W.dtype, device=W.device)
    for _ in range(STEPS):
        v = torch.nn.functional.normalize(W.mT @ (W @ v), dim=0)
    largest = float((W @ v).norm())
    if not 0 < largest < math.inf:
        return True
    rounding = torch.finfo(variances.dtype).eps * float(variances.sum())
    return 1 / largest**2 <= 1.01 * eps + rounding


def lacks(W: Tensor, variances: Tensor, eps: float) -> str:
    """What is to be said of a covariance and the matrix that whitens it; nothing if it is fine."""
    mean = float(variances.mean())
    if outweighs(eps, mean):
        return (
            f"eps={eps} for features of mean variance {mean:.1e}, which it outweighs. Scale the "
            "data, or take a smaller eps."
        )
    if OUTWEIGHED * eps <= mean and has_null_direction(W, variances, eps):
        return (
            f"features that depend linearly on each other, or do not vary: eps={eps} alone bounds "
            "the inverse of their covariance. Take PCAWhitening with fewer n_components, a "
            "shrinkage or a larger eps."
        )
    return ""
