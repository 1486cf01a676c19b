r"""The exact root of few positions, one program for each sample.

With :math:`K = \tfrac1M z^\top z` and :math:`R = (K + b I)^{1/2}`,

.. math:: T = \bigl(R + \sqrt b\, I\bigr)^{-1} = Z (I + \sqrt b\, Z)^{-1}, \qquad Z = R^{-1},

whose matrix to invert has a spectrum in [1, 2], even where the iteration for :math:`Z` saturates.

Centred features have :math:`z \mathbf 1 = 0`, so in this direction any :math:`K` will do: there it
gets a mean eigenvalue in place of 0, and :math:`Z` no entries of :math:`1/\sqrt b`.

Read: :math:`z`. Written: :math:`T`. On chip: four matrices.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.tile import filled, gram, peak, square_sum
from covlayers.functional._iterations.tile import (
    dot,
    entry,
    nonzero,
    one_if_zero,
    plus_identity,
    store,
)


@triton.jit
def inverse(A, low, NEWTON_STEPS: tl.constexpr, n, SIZE: tl.constexpr, PRECISION: tl.constexpr):
    """Of a matrix with spectrum in ``[low, 1]``: a line, then scaled Newton steps."""
    T = 2 * (1 + low) * (1 + low) - (1 - low) * (1 - low)
    V = plus_identity(-8 / T * A, 8 * (1 + low) / T, n, SIZE)
    rho = (1 - low) * (1 - low) / T
    for _ in range(NEWTON_STEPS):
        beta = 2 / (2 - rho * rho)
        rho = rho * rho * beta / 2
        V = beta * (2 * V - dot(V, dot(A, V, PRECISION), PRECISION))
    return V


@triton.jit
def root_from_positions(
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
    STEPS: tl.constexpr,
    NEWTON_STEPS: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``T`` and the root of ``b``."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    Y = plus_identity(filled(K, n, CENTER, SIZE), b, n, SIZE)
    largest = nonzero(peak(Y))
    Y = Y / largest  # so that no square overflows
    norm = one_if_zero(tl.sqrt(square_sum(Y)))
    Y = Y / norm
    W2 = dot(Y, Y, PRECISION)
    bound = one_if_zero(tl.sqrt(square_sum(W2)))
    Y = Y / tl.sqrt(bound)
    scale = largest * norm * tl.sqrt(bound)
    Z = plus_identity(coefficients[1] * Y, coefficients[0], n, SIZE)
    Z += coefficients[2] / bound * W2
    Y = dot(Y, Z, PRECISION)
    size_of_W = 0.0
    for k in range(1, STEPS):
        W = dot(Z, Y, PRECISION)
        size_of_W = square_sum(W)
        Q = plus_identity(
            entry(coefficients, k, STEPS, 1) * W, entry(coefficients, k, STEPS, 0), n, SIZE
        )
        Q += entry(coefficients, k, STEPS, 2) * dot(W, W, PRECISION)
        Y = dot(Y, Q, PRECISION)
        Z = dot(Q, Z, PRECISION)
    # an eigenvalue that has left [0, 1] was negative
    root = tl.sqrt(tl.where(size_of_W <= n + 16, scale, float("nan")))
    share = tl.sqrt(b) / root
    half = plus_identity(0.5 * share * Z, 0.5, n, SIZE)
    V = inverse(half, 0.5, NEWTON_STEPS, n, SIZE, PRECISION)
    T = dot(Z, V, PRECISION) / (2 * root)
    store(T_pointer, (T + tl.trans(T)) / 2, n, SIZE)
    tl.store(y_pointer + sample, tl.sqrt(b))
