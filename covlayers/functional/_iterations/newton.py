r"""Scaled Newton steps to the inverse :math:`V` of a matrix :math:`M` with spectrum in [a, 1].

.. math:: V \leftarrow \beta (2 V - V M V), \quad \beta = \frac{2}{2 - \rho^2}, \quad
          \rho \leftarrow \frac{\rho^2}{2 - \rho^2},

from the best linear :math:`V`, whose residual has the size :math:`\rho`. Of the Smith iteration
:math:`M = (s + pI)/(1 + p)`, :math:`s` being a matrix divided by a bound of its spectrum.
"""

from functools import lru_cache
from typing import NamedTuple

import torch


class Start(NamedTuple):
    r"""The first step is a polynomial, :math:`V = c_0 I + c_1 s + c_2 s^2 + c_3 s^3`."""

    c0: float
    c1: float
    c2: float
    c3: float
    rho: float
    """The size of its residual."""


@lru_cache
def newton_steps(p: float) -> int:
    """How many steps it takes for float32, at least one."""
    rho = linear_start(p)[2]
    steps = 0
    while rho > torch.finfo(torch.float32).eps / 2:
        rho = rho**2 / (2 - rho**2)
        steps += 1
    return steps


def newton_start(p: float) -> Start:
    """The first step."""
    v0, v1, rho = linear_start(p)
    m0, m1 = p / (1 + p), 1 / (1 + p)
    beta, rho = newton_step(rho)
    return Start(
        beta * (2 * v0 - v0 * v0 * m0),
        beta * (2 * v1 - 2 * v0 * v1 * m0 - v0 * v0 * m1),
        -beta * (v1 * v1 * m0 + 2 * v0 * v1 * m1),
        -beta * v1 * v1 * m1,
        rho,
    )


def newton_step(rho: float) -> tuple[float, float]:
    """``beta`` of a step, and the size of the residual behind it."""
    beta = 2 / (2 - rho**2)
    return beta, rho**2 * beta / 2


def linear_start(p: float) -> tuple[float, float, float]:
    """The best linear ``V = v0 I + v1 s``, and the size of its residual."""
    a = p / (1 + p)
    T = 2 * (1 + a) ** 2 - (1 - a) ** 2
    return 8 / T, -8 / T / (1 + p), (1 - a) ** 2 / T
