"""Layers of style transfer, features to try them on, and what they ought to give."""

from collections.abc import Callable

import numpy as np
import scipy.linalg
import torch
from torch import Tensor, nn

import covlayers as cl
from tests.built import features

LAYERS: dict[str, tuple[int, Callable[..., nn.Module]]] = {
    "one group": (
        1,
        lambda alpha=1.0, eps=0.0: cl.WhiteningColoring(alpha, eps=eps),
    ),
    "three groups": (
        3,
        lambda alpha=1.0, eps=1e-5: cl.WhiteningColoring(alpha, num_groups=3, eps=eps),
    ),
    "learnt": (
        2,
        lambda alpha=1.0, eps=1e-5: cl.GroupWhiteningColoring(
            2, alpha, eps=eps, dtype=torch.float64
        ),
    ),
    "AdaIN": (6, lambda alpha=1.0, eps=1e-5: cl.AdaIN(alpha, eps=eps)),
}
EPS = {"one group": 0.0, "three groups": 1e-5, "learnt": 1e-5, "AdaIN": 1e-5}


def pair(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Content ``(2, 6, 5, 4)`` and style ``(2, 6, 4, 3)``."""
    return features(2).to(dtype), features(2, seed=1)[..., :4, :3].to(dtype)


def halves(soft: bool = False) -> Tensor:
    """Two regions of the content, ``(1, 2, 5, 4)``: the columns left and right of one column."""
    columns = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.float64)
    if soft:
        columns = torch.tensor([[0.9, 0.6, 0.3, 0.2], [0.0, 0.1, 0.3, 0.7]], dtype=torch.float64)
    return columns[None, :, None].expand(1, 2, 5, 4).clone()


def shrinkage(cov: np.ndarray, n: float) -> float:
    """Equation 23 of Chen et al. (2010), where positions do not outnumber the channels."""
    p, square, squares = len(cov), np.trace(cov) ** 2, np.trace(cov @ cov)
    rho = ((1 - 2 / p) * squares + square) / ((n + 1 - 2 / p) * (squares - square / p))
    return 0.0 if n > p else min(rho, 1.0)


def moments(
    x: np.ndarray, weights: np.ndarray, groups: int, eps: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The mean ``(c, 1)`` and the shrunk covariance of each group of features ``(C, M)``."""
    parts = x.reshape(groups, -1, x.shape[1])
    covs = [np.atleast_2d(np.cov(part, aweights=weights, ddof=0)) for part in parts]
    scale = np.mean([np.trace(cov) / len(cov) for cov in covs])
    found = []
    for part, cov in zip(parts, covs, strict=True):
        s = shrinkage(cov, weights.sum() ** 2 / (weights**2).sum()) if len(cov) > 1 else 0.0
        diagonal = s * np.trace(cov) / len(cov) + eps * scale
        mean = np.average(part, axis=1, weights=weights)[:, None]
        found.append((mean, (1 - s) * cov + diagonal * np.eye(len(cov))))
    return found


def transferred(
    content: Tensor,
    style: Tensor,
    groups: int = 1,
    eps: float = 0.0,
    content_weights: Tensor | None = None,
    style_weights: Tensor | None = None,
) -> Tensor:
    """Whitening-coloring sample by sample, group by group, in float64."""
    batch = []
    for x, s in zip(content.flatten(2).numpy(), style.flatten(2).numpy(), strict=True):
        given = ((content_weights, x), (style_weights, s))
        w, v = (np.ones(z.shape[1]) if m is None else m.flatten().numpy() for m, z in given)
        ours, theirs = moments(x, w, groups, eps), moments(s, v, groups, eps)
        parts = x.reshape(groups, -1, x.shape[1])
        for one, (mean, A), (target, B) in zip(parts, ours, theirs, strict=True):
            values, U = np.linalg.eigh(A)
            T = scipy.linalg.sqrtm(B).real @ (U / np.sqrt(values)) @ U.T
            batch.append(T @ (one - mean) + target)
    return torch.from_numpy(np.stack(batch)).reshape(content.shape)
