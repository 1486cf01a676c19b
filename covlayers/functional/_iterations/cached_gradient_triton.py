r"""The Smith iteration for the gradient of roots, one program a matrix of up to 128 rows.

.. math:: Y X + X Y = R, \qquad R = g_Y - Z\, g_Z\, Z

with the symmetric parts of the gradients. It takes the steps of :mod:`~.smith_triton`, and the
first Newton step is a polynomial of :math:`s = Y/b`, whose square the bound :math:`b` has needed.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.blocks_triton import largest_on_diagonal
from covlayers.functional._iterations.cached_triton import (
    write_product,
    write_sum,
    write_symmetric_part,
)
from covlayers.functional._iterations.tile import one_if_zero


@triton.jit
def cached_gradient(
    Y_pointer,
    Z_pointer,
    gY_pointer,
    gZ_pointer,
    X_pointer,
    scratch_pointer,
    gY_strides,
    gZ_strides,
    floor,
    p,
    start_of_V,
    rho,
    OF_ROOT: tl.constexpr,
    OF_INVERSE_ROOT: tl.constexpr,
    NEWTON_STEPS: tl.constexpr,
    DOUBLINGS: tl.constexpr,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient of one matrix, symmetric."""
    number = tl.program_id(0).to(tl.int64)
    start = number * n * n
    Y = Y_pointer + start
    V = scratch_pointer + 4 * start
    T = V + n * n
    X = T + n * n
    F = X + n * n

    largest = largest_on_diagonal(Y, n, floor, LINE)
    write_symmetric_part(Y, n, 1, X, largest, n, SIZE)
    total = write_product(X, X, X, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
    scale = tl.sqrt(one_if_zero(tl.sqrt(total)))
    bound = largest * scale
    c0, c1, c2, c3 = start_of_V
    write_sum(X, T, F, c2 / scale, c3 / (scale * scale), c1, n, SIZE)
    write_product(X, F, X, V, 1 / scale, None, c0, n, SIZE, DEPTH, PRECISION)
    for _ in range(1, NEWTON_STEPS):  # V M V, with M = (s + pI)/(1 + p)
        beta = 2 / (2 - rho * rho)
        rho = rho * rho * beta / 2
        inner = 1 / (bound * (1 + p))
        write_product(V, Y, V, T, inner, p / (1 + p), 0.0, n, SIZE, DEPTH, PRECISION)
        write_product(T, V, V, F, -beta, 2 * beta, 0.0, n, SIZE, DEPTH, PRECISION)
        V, F = F, V

    if OF_INVERSE_ROOT:
        Z = Z_pointer + start
        gZ = gZ_pointer + number * gZ_strides[0]
        write_symmetric_part(gZ, gZ_strides[1], gZ_strides[2], X, 1.0, n, SIZE)
        write_product(Z, X, Z, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
    if OF_ROOT:
        gY = gY_pointer + number * gY_strides[0]
        of_root = X if OF_INVERSE_ROOT else F
        write_symmetric_part(gY, gY_strides[1], gY_strides[2], of_root, 1.0, n, SIZE)
    if OF_INVERSE_ROOT:
        addend = 1.0 if OF_ROOT else None
        write_product(T, Z, X, F, -1.0, addend, 0.0, n, SIZE, DEPTH, PRECISION)
    write_product(V, F, V, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
    alpha = 2 * p / (bound * (1 + p) * (1 + p))
    write_product(T, V, T, X, alpha, None, 0.0, n, SIZE, DEPTH, PRECISION)
    C, T, F = T, F, V
    write_sum(F, F, C, -2 * p / (1 + p), None, 1.0, n, SIZE)
    for _ in range(DOUBLINGS):
        write_product(C, X, C, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        write_product(T, C, X, F, 1.0, 1.0, 0.0, n, SIZE, DEPTH, PRECISION)
        write_product(C, C, C, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        C, X, T, F = T, F, C, X
    write_symmetric_part(X, n, 1, X_pointer + start, 1.0, n, SIZE)
