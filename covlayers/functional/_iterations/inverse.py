"""The inverse of positive definite matrices by products alone, where nothing solves."""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import identity_like
from covlayers.functional._iterations.newton import linear_start, newton_step


def inverse_by_products(M: Tensor, lowest: float) -> Tensor:
    """The inverse of symmetric ``M``, ``(*, n, n)``, by scaled Newton steps.

    Args:
        M: matrices with a spectrum in [``lowest``, 1].
        lowest: above 0 and below 1.
    """
    p = lowest / (1 - lowest)
    v0, v1, rho = linear_start(p)
    identity = identity_like(M)
    V = (v0 - v1 * p) * identity + v1 * (1 + p) * M
    while rho > torch.finfo(M.dtype).eps / 2:
        beta, rho = newton_step(rho)
        V = beta * (2 * V - V @ M @ V)
    return V
