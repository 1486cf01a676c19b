r"""The coupled iteration for root and inverse root, of Newton-Schulz and PolarExpress alike.

.. math:: Y_0 = A, \quad Z_0 = I, \quad W = Z_k Y_k, \quad Q = p_k I + q_k W + r_k W^2, \quad
          Y_{k+1} = Y_k Q, \quad Z_{k+1} = Q Z_k

for a normalised :math:`A`. Every matrix is a polynomial in :math:`A`, so all commute, and
:math:`\sqrt W` goes through the odd polynomials :math:`p_k x + q_k x^3 + r_k x^5`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.linalg import frobenius_norm, identity_like

Quintic = tuple[float, float, float]


class LastStep(NamedTuple):
    """The iteration before its last multiplication: a caller may want but one of the two roots."""

    Y: Tensor
    Z: Tensor
    W: Tensor
    Q: Tensor

    @property
    def root(self) -> Tensor:
        """The last ``Y``."""
        return self.Y @ self.Q

    @property
    def inverse_root(self) -> Tensor:
        """The last ``Z``."""
        return self.Q @ self.Z


def coupled_iteration(
    A: Tensor, steps: Sequence[Quintic], square: Tensor | None = None
) -> LastStep:
    """Iterate from a normalised ``A``; ``square`` is its square, where that is known."""
    Y, Z, W, Q = A, identity_like(A), A, _quintic(A, steps[0], square)
    for index, step in enumerate(steps[1:]):
        Y, Z = Y @ Q, Q @ Z if index else Q
        W = Z @ Y
        Q = _quintic(W, step, None)
    return LastStep(Y, Z, W, Q)


def tightly_scaled(A: Tensor, steps: Sequence[Quintic]) -> tuple[LastStep, Tensor]:
    r"""The iteration of :math:`A/c` with :math:`c = \lVert A^2 \rVert_F^{1/2}`, and ``c``.

    ``c``, ``(*, 1, 1)``, is NaN for a matrix with an eigenvalue that has left the interval.
    """
    # The first step has Z = I, so its W² is A², whose norm is the bound c.
    scale = frobenius_norm(A)
    Y = A / scale
    square = Y @ Y
    norm = torch.linalg.matrix_norm(square, keepdim=True)
    c = torch.where(norm > 0, norm, 1.0).sqrt()
    last = coupled_iteration(Y / c, steps, square / c**2)
    return last, torch.where(_bounded(last.W.detach()), scale * c, torch.nan)


def _bounded(W: Tensor) -> Tensor:
    """Whether no eigenvalue has left [0, 1] by far: a negative one grows at every step.

    One that reaches -4 before the last step still leaves a result of the size of the floor.
    """
    norm = torch.linalg.matrix_norm(W, keepdim=True)
    return norm <= (W.shape[-1] + 16) ** 0.5


def _quintic(W: Tensor, step: Quintic, square: Tensor | None) -> Tensor:
    p, q, r = step
    identity = identity_like(W)
    if square is not None:
        return torch.add(p * identity, W, alpha=q) + r * square
    if r == 0:
        return torch.add(p * identity, W, alpha=q)
    # p I + W (q I + r W), in one pass over the result
    batch = W.reshape(-1, *W.shape[-2:])
    outer = (p * identity).expand_as(batch)
    return torch.baddbmm(outer, batch, torch.add(q * identity, batch, alpha=r)).view_as(W)
