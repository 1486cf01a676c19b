r"""The derivative of the steps of Newton-Schulz, one program a matrix.

As :mod:`~.newton_schulz` says, the tangent :math:`\dot Z` along the gradient, beside

.. math:: W \leftarrow \tfrac14 (9 W - 6 W^2 + W^3), \qquad Q = \tfrac12 (3 I - W), \qquad
          Z \leftarrow Q Z .

The registers do not hold :math:`W, Z`, their tangents, :math:`W^2` and its own, so all stay in the
cache of the GPU. In the code ``dW`` is :math:`\dot W`.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.blocks_triton import largest_on_diagonal
from covlayers.functional._iterations.cached_triton import (
    inner_product,
    write_product,
    write_sum,
    write_symmetric_part,
)


@triton.jit
def newton_schulz_gradient(
    A_pointer,
    s_pointer,
    gY_pointer,
    gZ_pointer,
    X_pointer,
    scratch_pointer,
    gY_strides,
    gZ_strides,
    OF_ROOT: tl.constexpr,
    OF_INVERSE_ROOT: tl.constexpr,
    STEPS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient for one matrix, from one gradient for its roots or both."""
    number = tl.program_id(0).to(tl.int64)
    A, X = A_pointer + number * n * n, X_pointer + number * n * n
    gY, gZ = gY_pointer, gZ_pointer
    W = scratch_pointer + 8 * number * n * n
    dW = W + n * n
    Z = dW + n * n
    dZ = Z + n * n
    S = dZ + n * n
    dS = S + n * n
    T = dS + n * n
    U = T + n * n
    s = tl.load(s_pointer + number)
    root = tl.sqrt(s)
    write_symmetric_part(A, n, 1, W, s, n, SIZE)
    if OF_ROOT:  # as y = B z
        gY += number * gY_strides[0]
        write_symmetric_part(gY, gY_strides[1], gY_strides[2], S, 1 / root, n, SIZE)
        write_product(W, S, S, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        write_symmetric_part(T, n, 1, dW, 1.0, n, SIZE)
    if OF_INVERSE_ROOT:
        gZ += number * gZ_strides[0]
        write_symmetric_part(gZ, gZ_strides[1], gZ_strides[2], S, root, n, SIZE)
        write_sum(S, dW, dW, 1.0, 1.0 if OF_ROOT else None, 0.0, n, SIZE)
    write_sum(W, W, Z, -0.5, None, 1.5, n, SIZE)
    write_sum(dW, dW, dZ, -0.5, None, 0.0, n, SIZE)
    for _ in range(1, STEPS):
        write_product(W, W, W, S, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        write_product(dW, W, W, T, 2.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        write_symmetric_part(T, n, 1, dS, 1.0, n, SIZE)
        write_product(dS, W, dW, T, 0.25, 2.25, 0.0, n, SIZE, DEPTH, PRECISION)
        write_product(S, dW, T, U, 0.25, 1.0, 0.0, n, SIZE, DEPTH, PRECISION)
        write_symmetric_part(U, n, 1, T, 1.0, n, SIZE)  # what is skew would grow
        write_sum(T, dS, dW, 1.0, -1.5, 0.0, n, SIZE)
        write_product(S, W, W, U, 0.25, 2.25, 0.0, n, SIZE, DEPTH, PRECISION)
        write_sum(U, S, W, 1.0, -1.5, 0.0, n, SIZE)
        Q = S
        write_sum(W, W, Q, -0.5, None, 1.5, n, SIZE)
        write_product(Q, dZ, dZ, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        write_product(dW, Z, T, dZ, -0.5, 1.0, 0.0, n, SIZE, DEPTH, PRECISION)
        write_product(Q, Z, Z, U, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        Z, U = U, Z
    # the inputs once more
    write_symmetric_part(A, n, 1, W, s, n, SIZE)
    of_s = 0.0
    if OF_INVERSE_ROOT:
        write_symmetric_part(gZ, gZ_strides[1], gZ_strides[2], S, root, n, SIZE)
        of_s -= 0.5 * inner_product(S, Z, n, SIZE)
    if OF_ROOT:
        write_symmetric_part(gY, gY_strides[1], gY_strides[2], S, 1 / root, n, SIZE)
        write_product(S, Z, Z, T, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        of_s += 0.5 * inner_product(T, W, n, SIZE)
        write_sum(T, dZ, dZ, 1.0, 1.0, 0.0, n, SIZE)
    of_s -= inner_product(dZ, W, n, SIZE)
    of_s = tl.where(largest_on_diagonal(W, n, 0.0, SIZE) > 0, of_s, 0.0)
    write_symmetric_part(dZ, n, 1, T, s, n, SIZE)
    write_sum(T, T, X, 1.0, None, of_s / s, n, SIZE)
