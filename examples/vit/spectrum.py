"""The second-order statistics of the visual tokens, before and after their normalisation."""

from collections.abc import Callable

import torch
from torch import Tensor

from covlayers import CovPool, CrossCovPool
from covlayers import functional as F
from network import VisionTransformer

Matrices = tuple[Tensor, Tensor]
"""The matrices of a batch before and after, ``(N, p, q)`` each."""


def covariances(pool: CovPool, visual: Tensor) -> Matrices:
    """The covariances of the reduced tokens, and their roots."""
    before = F.covariance(pool.reduction(visual), eps=pool.eps)
    return before, F.triu_matrix(pool(visual), before.shape[-1])


def cross_covariances(pool: CrossCovPool, visual: Tensor) -> Matrices:
    """The cross covariances of the tokens reduced in two ways, and their normalised form."""
    before = F.cross_covariance(*(reduction(visual) for reduction in pool.reductions))
    return before, pool(visual).view_as(before)


MATRICES: dict[str, Callable[..., Matrices]] = {
    "mpn": covariances,
    "isqrt": covariances,
    "mpa": covariances,
    "cross": cross_covariances,
}
"""What computes the matrices, by the name of the head; other heads take no covariance."""


@torch.no_grad()
def singular_values(network: VisionTransformer, head: str, inputs: Tensor) -> Matrices:
    """The singular values of the matrices before and after, largest first, ``(N, n)`` each."""
    visual = network.tokens(inputs)[:, 1:].mT  # (N, D, M)
    before, after = MATRICES[head](network.head.pool, visual)
    return torch.linalg.svdvals(before), torch.linalg.svdvals(after)
