r"""What the kernels compute, in plain PyTorch: the reference, and what runs on a CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from covlayers.functional._base.linalg import cholesky, identity_like, nonzero, trace
from covlayers.functional._iterations.coupled import coupled_iteration, tightly_scaled


def roots(A: Tensor, coefficients: Sequence[float], tight: bool) -> tuple[Tensor, Tensor]:
    """The root and the inverse root by the coupled iteration."""
    p, q, r = (coefficients[k::3] for k in range(3))
    steps = list(zip(p, q, r, strict=True))
    if tight:
        last, c = tightly_scaled(A, steps)
    else:
        c = nonzero(trace(A))
        last = coupled_iteration(A / c, steps)
    return c.sqrt() * last.root, last.inverse_root / c.sqrt()


def smith(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    """The solution of ``S X + X S = Q`` by the squared Smith iteration."""
    identity = identity_like(S)
    p = lower**0.5 * bound
    V = torch.cholesky_inverse(cholesky(S + p * identity))
    C = identity - 2 * p * V
    X = (2 * p * V) @ Q @ V
    for index in range(doublings):
        C = C @ C if index else C
        X = X + C @ X @ C
    return X


def sign(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    """The solution of ``S X + X S = Q`` by the sign iteration."""
    b, c = S / norm, Q / norm
    three = 3 * identity_like(S)
    for _ in range(iterations):
        square = b @ b
        c = (c @ (three - square) - square @ c + b @ c @ b) / 2
        b = b @ (three - square) / 2
    return c / 2
