r"""Newton-Schulz of few positions, and the derivative of its steps.

.. math:: f(A) = \sqrt s\, y(A/s), \quad s = \operatorname{tr} A, \qquad T = f[b, K + b I] .

For the steps see :mod:`~.newton_schulz_triton`.
"""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import identity_like, symmetric, trace
from covlayers.functional._features.products import features, gram, inner, of_triangle
from covlayers.functional._features.root import empty_factor
from covlayers.functional._iterations.operators import declare

Passed = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def _steps(K: Tensor, b: float, C: int, steps: int) -> tuple[Tensor, list[Passed]]:
    """The trace, ``(N, 1, 1)``, and ``W, S, T, w, y`` before every step and after the last."""
    identity = identity_like(K)
    s = trace(K) + C * b
    W, w = (K + b * identity) / s, b / s
    S, T, y = identity.expand_as(K), identity.expand_as(K), w
    passed: list[Passed] = [(W, S, T, w, y)]
    for _ in range(steps):
        square = W @ W
        T = T @ (3 * identity - W) / 2 - y / 2 * S
        S = ((3 - w) ** 2 * identity + (w - 6) * W + square) @ S / 4
        W = (9 * W - 6 * square + square @ W) / 4
        w, y = w * (3 - w) ** 2 / 4, y * (3 - w) / 2
        passed.append((W, S, T, w, y))
    return s, passed


def _newton_schulz(x: Tensor, b: float, steps: int, center: bool) -> tuple[Tensor, Tensor]:
    s, passed = _steps(gram(features(x, center)), b, x.shape[-2], steps)
    _, _, T, _, y = passed[-1]
    return symmetric(T / s.sqrt()), (s.sqrt() * y).flatten()


def _newton_schulz_on_cuda(x: Tensor, b: float, steps: int, center: bool) -> tuple[Tensor, Tensor]:
    from covlayers.functional._features.launch_positions import (
        launch_newton_schulz,
    )

    T, y = empty_factor(x)
    launch_newton_schulz(x, b, steps, center, T, y)
    return T, y


def _gradient(
    x: Tensor,
    P: Tensor,
    grad: Tensor,
    T: Tensor,
    b: float,
    steps: int,
    center: bool,
    triangle: bool,
) -> Tensor:
    V = inner(features(x, center), P)
    identity = identity_like(V)
    s, passed = _steps(gram(features(x, center)), b, x.shape[-2], steps)
    y = passed[-1][-1]
    of_base = trace(of_triangle(grad, x.shape[-2], triangle, False))
    of_norm = (s.sqrt() * y * of_base - _sum(V * T)) / 2  # times s
    gW, gS, gT = torch.zeros_like(V), torch.zeros_like(V), V / s.sqrt()
    gw, gy = torch.zeros_like(s), s.sqrt() * of_base
    for W, S, step_T, w, y in reversed(passed[:-1]):
        square = W @ W
        E = (3 - w) ** 2 * identity + (w - 6) * W + square
        gE = gS @ S / 4
        g_square = gW @ W / 4 - 1.5 * gW + gE
        gw = gw * ((3 - w) ** 2 - 2 * w * (3 - w)) / 4 - gy * y / 2
        gw = gw + (2 * w - 6) * trace(gE) + _sum(gE * W)
        gy = gy * (3 - w) / 2 - _sum(S * gT) / 2
        gW = 2.25 * gW + square @ gW / 4 + (w - 6) * gE + g_square @ W + W @ g_square
        gW = gW - step_T @ gT / 2
        gS = E @ gS / 4 - y / 2 * gT
        gT = gT @ (3 * identity - W) / 2
    of_norm = of_norm - _sum(gW * passed[0][0]) - (gw + gy) * b / s
    return (symmetric(gW) + of_norm * identity) / s


def _sum(of_each: Tensor) -> Tensor:
    return of_each.sum((-2, -1), keepdim=True)


def _gradient_on_cuda(
    x: Tensor,
    P: Tensor,
    grad: Tensor,
    T: Tensor,
    b: float,
    steps: int,
    center: bool,
    triangle: bool,
) -> Tensor:
    from covlayers.functional._features.launch_positions import launch_newton_schulz_gradient

    R = torch.empty_like(T)
    launch_newton_schulz_gradient(x, P, grad, T, b, steps, center, triangle, R)
    return R


# In products of M x M: 4 for each step, and for the gradient 13.
newton_schulz_from_positions = declare(
    "newton_schulz_from_positions(Tensor x, float b, int steps, bool center) -> (Tensor, Tensor)",
    _newton_schulz,
    _newton_schulz_on_cuda,
    empty_factor,
)
gradient_of_newton_schulz = declare(
    "gradient_of_newton_schulz(Tensor x, Tensor P, Tensor grad, Tensor T, float b, int steps, "
    "bool center, bool triangle) -> Tensor",
    _gradient,
    _gradient_on_cuda,
    lambda x, P, grad, T, *_: T.new_empty(T.shape),
)
