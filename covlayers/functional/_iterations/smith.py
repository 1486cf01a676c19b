r"""The squared Smith iteration for :math:`S X + X S = Q`.

With a shift :math:`p > 0`, :math:`V = (S + pI)^{-1}` and :math:`C = I - 2pV`,

.. math:: X = 2p\, V Q V, \qquad X \leftarrow X + C X C, \quad C \leftarrow C^2 .
"""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import cholesky, identity_like
from covlayers.functional._iterations.conditions import fits
from covlayers.functional._iterations.operators import define


def solve_by_smith(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    r"""The solution ``X``, ``(*, n, n)``.

    Args:
        S: symmetric positive definite matrices ``(*, n, n)``.
        Q: right-hand sides of that shape, symmetric or not.
        bound: no smaller than the largest eigenvalue of ``S``, ``(*, 1, 1)``.
        lower: in (0, 1]: the smallest eigenvalue as a fraction of ``bound``; the shift is
            :math:`p = \sqrt{\text{lower}} \cdot \text{bound}`.
        doublings: steps.
    """
    run = _operator if S.device.type != "cpu" and fits(S, Q) else plain
    return run(S, Q, bound, lower, doublings)


def plain(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    """The iteration in plain PyTorch."""
    identity = identity_like(S)
    p = lower**0.5 * bound
    V = torch.cholesky_inverse(cholesky(S + p * identity))
    C = identity - 2 * p * V
    X = (2 * p * V) @ Q @ V
    for index in range(doublings):
        C = C @ C if index else C
        X = X + C @ X @ C
    return X


def _on_cpu(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    return plain(S.contiguous(), Q.contiguous(), bound, lower, doublings).contiguous()


def _on_cuda(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    from covlayers.functional._iterations.launch import launch_smith  # triton takes a second

    return launch_smith(S, Q, bound, lower, doublings)


# A matrix costs two reads and a write, 12 n² bytes, and 2 + 2 N + 3 k products of 2 n³ operations
# for k doublings and N Newton steps, 5 by default.
_operator = define(
    "smith(Tensor S, Tensor Q, Tensor bound, float lower, int doublings) -> Tensor",
    _on_cpu,
    _on_cuda,
)
