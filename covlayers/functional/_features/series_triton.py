r"""The published approximants of the root of few positions, one program for each sample.

Of :math:`f(A) = \sqrt s\, h(A/s)` with the Frobenius norm :math:`s` of :math:`A`, which has the
eigenvalue :math:`b` and all of :math:`K + b I`, the side of the positions needs the divided
difference :math:`T = f[b, K + b]`. With :math:`X = (K + b I)/s` and :math:`x = b/s`, Padé's is a
sum of inverses and Taylor's a second Horner scheme beside the first:

.. math:: h[x, X] = \frac2N \sum_k \frac{\sigma_k}{\sigma_k + \kappa_k x}
          (\sigma_k I + \kappa_k X)^{-1}, \qquad
          h[x, X] = -p[z, Z], \quad D \leftarrow P + z D, \quad P \leftarrow c_k I + Z P .

Read: the features. On chip: four matrices.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.root_triton import inverse
from covlayers.functional._features.tile import gram, peak, square_sum, trace
from covlayers.functional._iterations.tile import (
    dot,
    entry,
    plus_identity,
    store,
)


@triton.jit
def frobenius(K, b, C, SIZE: tl.constexpr):
    """The Frobenius norm of the matrix of channels."""
    largest = tl.maximum(peak(K), b)
    K = K / largest
    b = b / largest
    return largest * tl.sqrt(square_sum(K) + 2 * b * trace(K, SIZE) + C * b * b)


@triton.jit
def pade_from_positions(
    x_pointer,
    T_pointer,
    y_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    n,
    b,
    poles,
    DEGREE: tl.constexpr,
    NEWTON_STEPS: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``T`` and ``f(b)``; the poles in triples of ``kappa, sigma`` and nothing."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    s = frobenius(K, b, C, SIZE)
    X = plus_identity(K, b, n, SIZE) / s
    x = b / s
    T = tl.zeros((SIZE, SIZE), tl.float32)
    y = 1.0
    for k in range(DEGREE):
        kappa, sigma = entry(poles, k, DEGREE, 0), entry(poles, k, DEGREE, 1)
        term = plus_identity(kappa * X, sigma, n, SIZE)
        term = inverse(term, sigma, NEWTON_STEPS, n, SIZE, PRECISION)
        T += sigma / (sigma + kappa * x) * term
        y += 2 * x / (sigma + kappa * x)
    T = T / (2 * DEGREE + 1) / tl.sqrt(s)
    store(T_pointer, T + tl.trans(T), n, SIZE)
    tl.store(y_pointer + sample, tl.sqrt(s) * y / (2 * DEGREE + 1))


@triton.jit
def taylor_from_positions(
    x_pointer,
    T_pointer,
    y_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    n,
    b,
    coefficients,
    TERMS: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``T`` and ``f(b)``; coefficients in triples of one and zeros, the highest power first."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    s = frobenius(K, b, C, SIZE)
    Z = plus_identity(-K / s, 1 - b / s, n, SIZE)
    z = 1 - b / s
    D = tl.zeros((SIZE, SIZE), tl.float32)
    P = plus_identity(D, coefficients[0], n, SIZE)
    p = coefficients[0] + 0 * z
    for k in range(1, TERMS):
        c = entry(coefficients, k, TERMS, 0)
        D = P + z * D
        P = plus_identity(dot(Z, P, PRECISION), c, n, SIZE)
        p = c + z * p
    T = -D / (2 * tl.sqrt(s))
    store(T_pointer, T + tl.trans(T), n, SIZE)
    tl.store(y_pointer + sample, tl.sqrt(s) * p)
