r"""The published approximants of the root of few positions, and their published gradient.

Of :math:`f(A) = \sqrt s\, h(A/s)`, :math:`s = \lVert A \rVert_F`, the side of the positions needs
the divided difference :math:`T = f[b, K + b I]`: see :mod:`~.series_triton`.

The gradient is the one of :class:`~covlayers.functional.Lyapunov`, of the root
:math:`B = f(A)/\sqrt s` and the right-hand side :math:`C_0 = G/\sqrt s`,

.. math:: C \leftarrow \tfrac12 (3 C - C B^2 - B^2 C + B C B), \quad
          B \leftarrow \tfrac12 (3 B - B^3), \qquad g_A = C/2 .

Of :math:`C` only :math:`C z = P L + z R` is wanted, :math:`P = G z`. With :math:`B, D, \beta` for
the root at :math:`K + b I`, its divided difference and its value at :math:`b`, and
:math:`V = \tfrac1M z^\top C z`, a step multiplies :math:`L` and :math:`R` from the right by
:math:`\tfrac12 ((3 - \beta^2) I + \beta B - B^2)`, and adds to :math:`R`

.. math:: \tfrac12 D (V B - B V - \beta V) .
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from covlayers.functional._base.linalg import identity_like, solve, symmetric, trace
from covlayers.functional._features.products import features, gram, inner
from covlayers.functional._features.root import empty_factor
from covlayers.functional._iterations.operators import declare


def _frobenius(K: Tensor, b: float, C: int) -> Tensor:
    """The norm of the matrix of channels, ``(N, 1, 1)``."""
    largest = K.abs().amax((-2, -1), keepdim=True).clamp_min(b)
    K, b_share = K / largest, b / largest
    squares = K.square().sum((-2, -1), keepdim=True)
    return largest * (squares + 2 * b_share * trace(K) + C * b_share**2).sqrt()


def _pade(x: Tensor, b: float, poles: Sequence[float], center: bool) -> tuple[Tensor, Tensor]:
    K = gram(features(x, center))
    s, identity = _frobenius(K, b, x.shape[-2]), identity_like(K)
    X, at_b = (K + b * identity) / s, b / s
    T, y = torch.zeros_like(K), torch.ones_like(s)
    for kappa in poles:
        sigma = 1 - kappa
        weight = sigma + kappa * at_b
        term = solve(sigma * identity + kappa * X, identity.expand_as(X))
        T, y = T + sigma / weight * term, y + 2 * at_b / weight
    N = 2 * len(poles) + 1
    return symmetric(2 / N * T / s.sqrt()), (s.sqrt() * y / N).flatten()


def _pade_on_cuda(
    x: Tensor, b: float, poles: Sequence[float], center: bool
) -> tuple[Tensor, Tensor]:
    from covlayers.functional._features.launch_positions import launch_pade  # triton takes a second

    T, y = empty_factor(x)
    launch_pade(x, b, poles, center, T, y)
    return T, y


def _taylor(
    x: Tensor, b: float, coefficients: Sequence[float], center: bool
) -> tuple[Tensor, Tensor]:
    K = gram(features(x, center))
    s, identity = _frobenius(K, b, x.shape[-2]), identity_like(K)
    at_b = 1 - b / s
    Z, D = at_b * identity - K / s, torch.zeros_like(K)
    *low, highest = coefficients
    P, p = highest * identity.expand_as(K), highest * torch.ones_like(s)
    for c in reversed(low):
        D, P, p = P + at_b * D, c * identity + Z @ P, c + at_b * p
    return symmetric(-D / s.sqrt()), (s.sqrt() * p).flatten()


def _taylor_on_cuda(
    x: Tensor, b: float, coefficients: Sequence[float], center: bool
) -> tuple[Tensor, Tensor]:
    from covlayers.functional._features.launch_positions import launch_taylor

    T, y = empty_factor(x)
    launch_taylor(x, b, coefficients, center, T, y)
    return T, y


def _sign(
    x: Tensor, P: Tensor, T: Tensor, y: Tensor, b: float, center: bool, iterations: int
) -> tuple[Tensor, Tensor]:
    z = features(x, center)
    K, identity = gram(z), identity_like(T)
    scale = _frobenius(K, b, x.shape[-2]).sqrt()
    beta, D, V = y[:, None, None] / scale, T / scale, inner(z, P) / scale
    B, L, R = beta * identity + K @ D, identity / scale, torch.zeros_like(T)
    for _ in range(iterations):
        square, three = B @ B, (3 - beta**2) * identity
        step = (three + beta * B - square) / 2
        VB = V @ B
        commutator = VB - VB.mT
        L, R = L @ step, R @ step + D @ (commutator - beta * V) / 2
        V = (3 * V - VB @ B + B @ commutator) / 2
        D = D @ (three - beta * B - square) / 2
        B, beta = (3 * B - square @ B) / 2, beta * (3 - beta**2) / 2
    return L / 2, R / 2


def _sign_on_cuda(
    x: Tensor, P: Tensor, T: Tensor, y: Tensor, b: float, center: bool, iterations: int
) -> tuple[Tensor, Tensor]:
    from covlayers.functional._features.launch_positions import launch_sign

    L, R = torch.empty_like(T), torch.empty_like(T)
    launch_sign(x, P, T, y, b, center, iterations, L, R)
    return L, R


# In products of M x M: 2 N + 1 for each pole, 1 for each term, 10 for each iteration.
pade_from_positions = declare(
    "pade_from_positions(Tensor x, float b, float[] poles, bool center) -> (Tensor, Tensor)",
    _pade,
    _pade_on_cuda,
    empty_factor,
)
taylor_from_positions = declare(
    "taylor_from_positions(Tensor x, float b, float[] coefficients, bool center) "
    "-> (Tensor, Tensor)",
    _taylor,
    _taylor_on_cuda,
    empty_factor,
)
sign_from_positions = declare(
    "sign_from_positions(Tensor x, Tensor P, Tensor T, Tensor y, float b, bool center, "
    "int iterations) -> (Tensor, Tensor)",
    _sign,
    _sign_on_cuda,
    lambda x, P, T, *_: (T.new_empty(T.shape), T.new_empty(T.shape)),
)
