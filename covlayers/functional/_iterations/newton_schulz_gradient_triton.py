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
from covlayers.functional._iterations.team_triton import (
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
    n: tl.constexpr,
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
    alone = None, None, 0
    s = tl.load(s_pointer + number)
    root = tl.sqrt(s)
    write_symmetric_part(A, n, 1, W, s, alone, 1, n, SIZE)
    if OF_ROOT:  # as y = B z
        gY += number * gY_strides[0]
        write_symmetric_part(gY, gY_strides[1], gY_strides[2], S, 1 / root, alone, 1, n, SIZE)
        write_product(W, S, T, alone, 1, n, SIZE, DEPTH, PRECISION)
        write_symmetric_part(T, n, 1, dW, 1.0, alone, 1, n, SIZE)
    if OF_INVERSE_ROOT:
        gZ += number * gZ_strides[0]
        write_symmetric_part(gZ, gZ_strides[1], gZ_strides[2], S, root, alone, 1, n, SIZE)
        write_sum(S, dW, alone, 1, n, SIZE, second=dW if OF_ROOT else None)
    write_sum(W, Z, alone, 1, n, SIZE, alpha=-0.5, gamma=1.5)
    write_sum(dW, dZ, alone, 1, n, SIZE, alpha=-0.5)
    for _ in range(1, STEPS):
        write_product(W, W, S, alone, 1, n, SIZE, DEPTH, PRECISION)
        write_product(dW, W, T, alone, 1, n, SIZE, DEPTH, PRECISION, alpha=2.0)
        write_symmetric_part(T, n, 1, dS, 1.0, alone, 1, n, SIZE)
        write_product(
            dS, W, T, alone, 1, n, SIZE, DEPTH, PRECISION, alpha=0.25, addend=dW, beta=2.25
        )
        write_product(S, dW, U, alone, 1, n, SIZE, DEPTH, PRECISION, alpha=0.25, addend=T)
        write_symmetric_part(U, n, 1, T, 1.0, alone, 1, n, SIZE)  # what is skew would grow
        write_sum(T, dW, alone, 1, n, SIZE, second=dS, beta=-1.5)
        write_product(S, W, U, alone, 1, n, SIZE, DEPTH, PRECISION, alpha=0.25, addend=W, beta=2.25)
        write_sum(U, W, alone, 1, n, SIZE, second=S, beta=-1.5)
        Q = S
        write_sum(W, Q, alone, 1, n, SIZE, alpha=-0.5, gamma=1.5)
        write_product(Q, dZ, T, alone, 1, n, SIZE, DEPTH, PRECISION)
        write_product(dW, Z, dZ, alone, 1, n, SIZE, DEPTH, PRECISION, alpha=-0.5, addend=T)
        write_product(Q, Z, U, alone, 1, n, SIZE, DEPTH, PRECISION)
        Z, U = U, Z
    # the inputs once more
    write_symmetric_part(A, n, 1, W, s, alone, 1, n, SIZE)
    of_s = 0.0
    if OF_INVERSE_ROOT:
        write_symmetric_part(gZ, gZ_strides[1], gZ_strides[2], S, root, alone, 1, n, SIZE)
        of_s -= 0.5 * inner_product(S, Z, n, SIZE)
    if OF_ROOT:
        write_symmetric_part(gY, gY_strides[1], gY_strides[2], S, 1 / root, alone, 1, n, SIZE)
        write_product(S, Z, T, alone, 1, n, SIZE, DEPTH, PRECISION)
        of_s += 0.5 * inner_product(T, W, n, SIZE)
        write_sum(T, dZ, alone, 1, n, SIZE, second=dZ)
    of_s -= inner_product(dZ, W, n, SIZE)
    of_s = tl.where(largest_on_diagonal(W, n, 0.0, SIZE) > 0, of_s, 0.0)
    write_symmetric_part(dZ, n, 1, T, s, alone, 1, n, SIZE)
    write_sum(T, X, alone, 1, n, SIZE, gamma=of_s / s)
