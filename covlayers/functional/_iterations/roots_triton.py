r"""The coupled iteration for root and inverse root, from the read to the write.

With :math:`c` from the norm of :math:`A` where ``TIGHT``, and 1 else,

.. math:: Y_1 = \tfrac1c A\, Z_1, \quad Z_1 = p_0 I + q_0 \tfrac1c A + r_0 \tfrac1{c^2} A^2, \quad
          W = Z_k Y_k, \quad Q = p_k I + q_k W + r_k W^2, \quad Y_{k+1} = Y_k Q, \quad
          Z_{k+1} = Q Z_k.

Read: :math:`A`. Written, as far as wanted: the symmetric parts of :math:`\sqrt c\, Y` and
:math:`Z / \sqrt c`. On chip: :math:`Y, Z, W, Q`.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import (
    dot,
    entry,
    load,
    nonzero,
    one_if_zero,
    peak,
    plus_identity,
    square_sum,
    store,
    symmetric_part,
)


@triton.jit
def coupled_iteration(
    A_pointer,
    Y_pointer,
    Z_pointer,
    coefficients,
    center,
    limit,
    STEPS: tl.constexpr,
    TIGHT: tl.constexpr,
    QUINTIC: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The roots of the program's matrix; without ``QUINTIC`` every ``r`` is zero."""
    Y = load(A_pointer, n, SIZE)
    if TIGHT:
        largest = nonzero(peak(Y))
        Y = Y / largest  # so that no square overflows
        norm = tl.sqrt(square_sum(Y))
        Y = Y / one_if_zero(norm)
        W2 = dot(Y, Y, PRECISION)
        total = one_if_zero(tl.sqrt(square_sum(W2)))
        Y = Y / tl.sqrt(total)
        W2 = W2 / total
        scale = nonzero(largest * norm) * tl.sqrt(total)
    else:
        W2 = dot(Y, Y, PRECISION) if QUINTIC else Y
    Z = plus_identity(coefficients[1] * Y, coefficients[0], n, SIZE)
    if QUINTIC:
        Z += coefficients[2] * W2
    size_of_W = square_sum(plus_identity(Y, -center, n, SIZE))
    Y = dot(Y, Z, PRECISION)
    for k in range(1, STEPS):
        W = dot(Z, Y, PRECISION)
        if k == STEPS - 1:
            size_of_W = square_sum(plus_identity(W, -center, n, SIZE))
        q = entry(coefficients, k, STEPS, 1)
        Q = plus_identity(q * W, entry(coefficients, k, STEPS, 0), n, SIZE)
        if QUINTIC:
            Q += entry(coefficients, k, STEPS, 2) * dot(W, W, PRECISION)
        Y = dot(Y, Q, PRECISION)
        Z = dot(Q, Z, PRECISION)
    if TIGHT:  # an eigenvalue that has left [0, 1] was negative
        scale = tl.where(size_of_W <= limit, scale, float("nan"))
        root = tl.sqrt(scale)
        Y = root * Y
        Z = Z / root
    if ROOT:
        store(Y_pointer, symmetric_part(Y), n, SIZE)
    if INVERSE_ROOT:
        store(Z_pointer, symmetric_part(Z), n, SIZE)
