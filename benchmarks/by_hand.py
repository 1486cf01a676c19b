"""The few lines that a user writes in place of a layer, left to autograd."""

import torch
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny
EPS = 1e-5


def root(A: Tensor) -> Tensor:
    """The square root."""
    values, vectors = torch.linalg.eigh(A)
    return (vectors * values.clamp(min=TINY).sqrt().unsqueeze(-2)) @ vectors.mT


def inverse_root(A: Tensor) -> Tensor:
    """The inverse square root."""
    values, vectors = torch.linalg.eigh(A)
    return (vectors * values.clamp(min=TINY).rsqrt().unsqueeze(-2)) @ vectors.mT


def moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centred features ``(N, C, M)``, their mean and the covariance of each sample."""
    x = x.flatten(2)
    mean = x.mean(-1, keepdim=True)
    x = x - mean
    return x, mean, x @ x.mT / x.shape[-1]


def pool(x: Tensor) -> Tensor:
    """The upper triangle of the root of each sample's covariance."""
    cov = moments(x)[2]
    rows, columns = torch.triu_indices(*cov.shape[-2:], device=x.device)
    return root(cov + EPS * identity(cov))[:, rows, columns]


def power_norm(A: Tensor) -> Tensor:
    """The square root of each singular value."""
    U, values, Vh = torch.linalg.svd(A, full_matrices=False)
    return (U * values.sqrt().unsqueeze(-2)) @ Vh


def whitening_coloring(content: Tensor, style: Tensor) -> Tensor:
    """The content with mean and covariance of the style."""
    x, _, cov = moments(content)
    _, mean, target = moments(style)
    W = root(target + EPS * identity(target)) @ inverse_root(cov + EPS * identity(cov))
    return (W @ x + mean).view_as(content)


def adain(content: Tensor, style: Tensor) -> Tensor:
    """The content with mean and variances of the style."""
    var, mean = torch.var_mean(content, (2, 3), keepdim=True)
    target, center = torch.var_mean(style, (2, 3), keepdim=True)
    return (content - mean) * ((target + EPS) / (var + EPS)).sqrt() + center


def gate(x: Tensor) -> Tensor:
    """Channels weighed by their mean."""
    return x * x.mean((-2, -1), keepdim=True).sigmoid()


def attend(clips: Tensor) -> Tensor:
    """Attention among the positions of a frame."""
    rows = clips.flatten(3).mT
    return torch.nn.functional.scaled_dot_product_attention(rows, rows, rows)


def distance_from_white(x: Tensor) -> Tensor:
    """The mean absolute difference of each sample's covariance from the identity."""
    cov = moments(x)[2]
    return (cov - identity(cov)).abs().mean()


def distance_from_orthogonal(A: Tensor) -> Tensor:
    """The mean absolute difference from the identity, of the products of unit columns."""
    U = torch.nn.functional.normalize(A, dim=-2)
    return (U.mT @ U - identity(A)).abs().mean()


def identity(A: Tensor) -> Tensor:
    """The identity of the size of ``A``."""
    return torch.eye(A.shape[-1], device=A.device)
