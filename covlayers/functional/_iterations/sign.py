r"""The sign iteration for :math:`S X + X S = Q`.

.. math:: c \leftarrow \tfrac12 \bigl( c\,(3I - b^2) - b^2 c + b\, c\, b \bigr), \quad
          b \leftarrow \tfrac12\, b\,(3 I - b^2), \qquad
          b_0 = S/\nu, \quad c_0 = Q/\nu, \quad X = c/2
"""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import identity_like
from covlayers.functional._iterations.conditions import fits
from covlayers.functional._iterations.operators import define


def solve_by_sign(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    """The solution ``X``, ``(*, n, n)``.

    Args:
        S: symmetric positive definite matrices ``(*, n, n)``.
        Q: right-hand sides of that shape, symmetric or not.
        norm: no smaller than the largest eigenvalue of ``S``, ``(*, 1, 1)``.
        iterations: steps.
    """
    run = _operator if S.device.type != "cpu" and fits(S, Q) else plain
    return run(S, Q, norm, iterations)


def plain(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    """The iteration in plain PyTorch."""
    b, c = S / norm, Q / norm
    three = 3 * identity_like(S)
    for _ in range(iterations):
        square = b @ b
        c = (c @ (three - square) - square @ c + b @ c @ b) / 2
        b = b @ (three - square) / 2
    return c / 2


def sign_factor(a: Tensor, b: Tensor, iterations: int) -> Tensor:
    """``X_ij / Q_ij`` in the eigenbasis of ``S``, for its eigenvalues ``a`` and ``b``."""
    factor = torch.full_like(a * b, 0.5)
    for _ in range(iterations):
        factor = factor * (3 - a**2 - b**2 + a * b) / 2
        a, b = a * (3 - a**2) / 2, b * (3 - b**2) / 2
    return factor


def _on_cpu(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    return plain(S, Q, norm, iterations).contiguous()


def _on_cuda(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    from covlayers.functional._iterations.launch import launch_sign  # triton takes a second

    return launch_sign(S, Q, norm, iterations)


# A matrix costs two reads and a write, 12 n² bytes, and 6 k products of 2 n³ operations.
_operator = define(
    "sign(Tensor S, Tensor Q, Tensor norm, int iterations) -> Tensor", _on_cpu, _on_cuda
)
