r"""Odd quintics closest to 1 on an interval, one after the other.

The best :math:`g(x) = p x + q x^3 + r x^5` on :math:`[l, u]` equioscillates at four points
:math:`l = x_0 < x_1 < x_2 < x_3 = u`: :math:`g(x_i) + (-1)^i E = 1`. Remez: solve this
linear system, move :math:`x_1, x_2` to the extrema of :math:`g`, repeat. After a step the interval
is :math:`[1 - E, 1 + E]`.
"""

from functools import lru_cache
from math import sqrt

from covlayers.functional._base.function import compile_time
from covlayers.functional._iterations.roots import Quintic


@compile_time
def minimax_quintics(lower: float, eps: float, steps: int | None = None) -> tuple[Quintic, ...]:
    """The quintics that take ``[lower, 1]`` to 1 within ``eps``, or a given number of them."""
    return _quintics(lower, eps, steps)


@lru_cache(maxsize=256)
def _quintics(lower: float, eps: float, steps: int | None) -> tuple[Quintic, ...]:
    found: list[Quintic] = []
    error = 1 - lower
    low, high = lower, 1.0
    while (error > eps / 2 if steps is None else len(found) < steps) and len(found) < 64:
        quintic, error = _best_quintic(low, high)
        found.append(quintic)
        low, high = 1 - error, 1 + error
    return tuple(found) or ((1.875, -1.25, 0.375),)


def _best_quintic(low: float, high: float) -> tuple[Quintic, float]:
    """The minimax quintic on ``[low, high]`` and its error there."""
    if high - low < 1e-4:  # the limit low = high = 1: the system above has become singular
        m = (low + high) / 2
        half = (high - low) / 2
        return (1.875 / m, -1.25 / m**3, 0.375 / m**5), 2.5 * (half / m) ** 3
    a, b = (3 * low + high) / 4, (low + 3 * high) / 4
    for _ in range(50):
        p, q, r, error = _solve([low, a, b, high])
        root = sqrt(9 * q * q - 20 * p * r)
        moved = sqrt((-3 * q - root) / (10 * r)), sqrt((-3 * q + root) / (10 * r))
        settled = abs(moved[0] - a) + abs(moved[1] - b) < 1e-14 * high
        a, b = moved
        if settled:
            break
    return (p, q, r), abs(error)


def _solve(x: list[float]) -> tuple[float, float, float, float]:
    """``p x + q x³ + r x⁵ + (-1)^i E = 1`` at four points, by Gaussian elimination."""
    rows = [[t, t**3, t**5, (-1.0) ** i, 1.0] for i, t in enumerate(x)]
    for k in range(4):
        pivot = max(range(k, 4), key=lambda i: abs(rows[i][k]))
        rows[k], rows[pivot] = rows[pivot], rows[k]
        for i in range(4):
            if i != k:
                factor = rows[i][k] / rows[k][k]
                rows[i] = [v - factor * w for v, w in zip(rows[i], rows[k], strict=True)]
    p, q, r, error = (rows[k][4] / rows[k][k] for k in range(4))
    return p, q, r, error
