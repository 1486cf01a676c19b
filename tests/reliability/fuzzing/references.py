"""What the functions have to give, in float64 by numpy and scipy, and how far rounding may take it.

A bound is the a priori one of the textbooks: an algorithm that is backward stable gives the answer
for a matrix within a small multiple of ``n eps`` of its norm, and the answer moves by that times
its slope. The slope of a polynomial adds up the slopes of its terms, which may cancel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.linalg
from scipy.special import binom

from covlayers import functional as F

MULTIPLE = 8
"""How many ``n eps`` a result may be off, for all functions alike."""


class Root(NamedTuple):
    """A function of eigenvalues, and its error per ``n eps`` before rounding of the result."""

    values: np.ndarray  # (*, n)
    error: np.ndarray  # (*)


@dataclass(frozen=True)
class Spectral:
    """A function with its slope, of positive numbers."""

    f: Callable[[np.ndarray], np.ndarray]
    df: Callable[[np.ndarray], np.ndarray]


def power(p: float) -> Spectral:
    return Spectral(lambda x: x**p, lambda x: p * x ** (p - 1))


LOG = Spectral(np.log, lambda x: 1 / x)
SQRT, INVSQRT = power(0.5), power(-0.5)


def symmetric(A: np.ndarray) -> np.ndarray:
    return (A + A.swapaxes(-1, -2)) / 2


def rebuilt(values: np.ndarray, U: np.ndarray) -> np.ndarray:
    return (U * values[..., None, :]) @ U.swapaxes(-1, -2)


def norms(A: np.ndarray, dims: int = 2) -> np.ndarray:
    """The Frobenius norm over the last dimensions, of entries of any size."""
    axes = tuple(range(-dims, 0))
    peak = np.abs(A).max(axes, keepdims=True, initial=1e-300)
    return peak.reshape(A.shape[: A.ndim - dims]) * np.sqrt(((A / peak) ** 2).sum(axes))


def exact(function: Spectral, values: np.ndarray) -> Root:
    """Through the spectrum: the slope times the norm, and the rounding of the value itself."""
    f, df = function.f(values), np.abs(function.df(values))
    return Root(f, values.max(-1) * df.max(-1) + np.abs(f).max(-1))


def newton_schulz(p: float, steps: int, values: np.ndarray) -> Root:
    """The coupled iteration of the trace-normalised eigenvalues."""
    s = values.sum(-1, keepdims=True)
    y, z = values / s, np.ones_like(values)
    for _ in range(steps):
        w = (3 - z * y) / 2
        y, z = y * w, z * w
    h = y if p > 0 else z
    grown = np.maximum(1, y.max(-1) * z.max(-1)) * h.max(-1)
    return Root(s**p * h, s[..., 0] ** p * steps * grown)


def taylor(p: float, degree: int, values: np.ndarray) -> Root:
    """The binomial series about the norm."""
    s = norms(values, 1)[..., None]
    terms = [binom(p, k) * (values / s - 1) ** k for k in range(degree + 1)]
    size = sum((1 + k) * np.abs(term) for k, term in enumerate(terms))
    return Root(s**p * sum(terms), s[..., 0] ** p * size.max(-1))


def pade(p: float, degree: int, values: np.ndarray) -> Root:
    """The quotient of the published polynomials, whose coefficients add up to more than they."""
    s = norms(values, 1)[..., None]
    z, N = 1 - values / s, 2 * degree + 1
    zeros = [np.cos((2 * k + 1) * np.pi / (2 * N)) ** 2 for k in range(degree)]
    poles = [np.cos(k * np.pi / N) ** 2 for k in range(1, degree + 1)]
    over, under = (zeros, poles) if p > 0 else (poles, zeros)
    P, Q = (np.prod([1 - r * z for r in roots], 0) for roots in (over, under))
    sizes = []
    for roots in (over, under):
        coefficients = np.abs(np.poly(roots))  # of the product of all 1 - r z
        sizes.append(sum((1 + k) * c * z**k for k, c in enumerate(coefficients)).max(-1))
    error = (sizes[0] + sizes[1] * np.abs(P / Q).max(-1)) / np.abs(Q).min(-1)
    return Root(s**p * P / Q, s[..., 0] ** p * error)


def polar_express(p: float, lower: float, values: np.ndarray) -> Root | None:
    """The root, to rounding of some ten steps, where the method promises to resolve it."""
    c = np.sqrt(norms(values**2, 1))
    if values.size and not (values.min(-1) > lower**2 * c).all():
        return None
    root = exact(power(p), values)
    return Root(root.values, 10 * root.error)


def root_of(p: float, method: object, eps: float, values: np.ndarray) -> Root | None:
    """A root as the method promises it; None where it only promises a finite one."""
    if isinstance(method, F.NewtonSchulz):
        return newton_schulz(p, method.iterations, values)
    if isinstance(method, F.Taylor):
        return taylor(p, method.degree, values)
    if isinstance(method, F.Pade):
        return pade(p, method.degree, values)
    if isinstance(method, F.PolarExpress):
        return polar_express(p, method.lower or 4 * eps**0.5, values)
    return exact(power(p), values)


def shrunk(cov: np.ndarray, s: float, eps: float = 0.0) -> np.ndarray:
    """Towards the identity, and on it."""
    n = cov.shape[-1]
    mean = np.trace(cov, axis1=-2, axis2=-1)[..., None, None] / max(n, 1)
    return (1 - s) * cov + (s * mean + eps) * np.eye(n)


def covariance(x: np.ndarray, y: np.ndarray, center: bool = True) -> np.ndarray:
    """Over the last dimension."""
    if center:
        x, y = (z - z.mean(-1, keepdims=True) for z in (x, y))
    return x @ y.swapaxes(-1, -2) / x.shape[-1]


def lyapunov(S: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """The solution, equation by equation."""
    S, Q = np.broadcast_arrays(S, Q)
    pairs = zip(S.reshape(-1, *S.shape[-2:]), Q.reshape(-1, *S.shape[-2:]), strict=True)
    solved = [scipy.linalg.solve_continuous_lyapunov(s, q) for s, q in pairs]
    return np.array(solved).reshape(S.shape)


def sign_iteration(S: np.ndarray, Q: np.ndarray, steps: int) -> np.ndarray:
    """Newton-Schulz for the sign of the block matrix of both, as published."""
    S, Q = np.broadcast_arrays(S, Q)
    norm, n = norms(S)[..., None, None], S.shape[-1]
    H = np.block([[S / norm, Q / norm], [np.zeros_like(S), -S / norm]])
    for _ in range(steps):
        H = H @ (3 * np.eye(2 * n) - H @ H) / 2
    return H[..., :n, n:] / 2
