"""How far pictures are apart, in the features of a fixed network, in style and in content.

The style of a picture is the mean and the covariance of its features at several depths. Its content
is what whitening leaves of the deepest ones.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from covlayers import functional as F

Features = Sequence[Tensor]
"""Features :math:`(N, C, H, W)` at several depths."""

FLAT = 1e-3
"""Norm of a mean or a covariance below which distances are relative to this instead."""

SHRINKAGE = 0.01
"""Shrinkage of the covariances that whiten the content, so that noise counts less than edges."""


def norm(x: Tensor) -> Tensor:
    """Frobenius norm of every sample, :math:`(N,)`."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def relative(x: Tensor, y: Tensor) -> Tensor:
    """Distance of x from y in units of the norm of y."""
    return norm(x - y) / norm(y).clamp(min=FLAT)


def symmetric(x: Tensor, y: Tensor) -> Tensor:
    """Distance of x from y in units of the mean of both norms, so at most 2."""
    return norm(x - y) / (norm(x) / 2 + norm(y) / 2).clamp(min=FLAT)


def covariance(x: Tensor) -> Tensor:
    """The covariance of the channels over all positions."""
    return F.covariance(x.flatten(2))


def mean(x: Tensor) -> Tensor:
    """The mean of each channel over all positions."""
    return x.mean((-2, -1))


def over_depths(
    distance: Callable[[Tensor, Tensor], Tensor],
    moment: Callable[[Tensor], Tensor],
    x: Features,
    y: Features,
) -> Tensor:
    """The mean over all depths of the distance of a moment, :math:`(N,)`."""
    depths = zip(x, y, strict=True)
    return torch.stack([distance(moment(a), moment(b)) for a, b in depths]).mean(0)


def style_distance(x: Features, y: Features) -> Tensor:
    r"""The metric, :math:`\|\Sigma_x - \Sigma_y\|_F / \|\Sigma_y\|_F`, :math:`(N,)`."""
    return over_depths(relative, covariance, x, y)


def style_loss(x: Features, y: Features) -> Tensor:
    """The loss, of covariances and of means; the styles of the batch count alike, flat or not."""
    return (over_depths(symmetric, covariance, x, y) + over_depths(symmetric, mean, x, y)).mean()


def whitened(x: Tensor) -> Tensor:
    """Features without style: mean zero and covariance one."""
    x = x.flatten(2)
    W = F.invsqrtm(F.covariance(x, eps=FLAT**2, shrinkage=SHRINKAGE))
    return F.whiten(x, x.mean(-1), W)


def content_loss(x: Features, y: Features) -> Tensor:
    """Mean squared distance of the deepest features, whitened."""
    return (whitened(x[-1]) - whitened(y[-1])).square().mean()
