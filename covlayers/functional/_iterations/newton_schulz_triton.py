r"""Newton-Schulz of matrices divided by their traces, and the derivative of its steps.

Forward, with :math:`s = \operatorname{tr} A` and from :math:`Y = A/s`, :math:`Z = I` on,

.. math:: Q = \tfrac12 (3 I - Z Y), \qquad Y \leftarrow Y Q, \qquad Z \leftarrow Q Z .

Read: :math:`A`. Written, as far as wanted: :math:`\sqrt s\, Y` and :math:`Z / \sqrt s`, and
:math:`s`, which is NaN for an indefinite matrix. On chip: :math:`Y, Z, Q`.

Backward the tangent :math:`\dot Z` along the gradient, as :mod:`~.newton_schulz` says, beside

.. math:: W \leftarrow \tfrac14 (9 W - 6 W^2 + W^3), \qquad Q = \tfrac12 (3 I - W), \qquad
          Z \leftarrow Q Z .

Read: :math:`A, s`, and of the gradients what there is. Written: the gradient. On chip:
:math:`W, \dot W, Z, \dot Z, W^2` and its tangent.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import (
    dot,
    inner,
    load,
    load_scale,
    load_strided,
    nonzero,
    plus_identity,
    semidefinite,
    store,
    store_scale,
    symmetric_part,
    trace,
)


@triton.jit
def newton_schulz(
    A_pointer,
    Y_pointer,
    Z_pointer,
    s_pointer,
    STEPS: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    n,
    count,
    SIZE: tl.constexpr,
    BATCH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The wanted roots of the program's matrices."""
    A = symmetric_part(load(A_pointer, n, SIZE, count, BATCH))
    s = nonzero(trace(A))
    Y = A / s
    s = tl.where(semidefinite(Y, n, SIZE), s, float("nan"))
    store_scale(s_pointer, s, count, BATCH)
    Z = plus_identity(-0.5 * Y, 1.5, n, SIZE)
    Y = dot(Y, Z, PRECISION)
    for _ in range(1, STEPS):
        Q = plus_identity(-0.5 * dot(Z, Y, PRECISION), 1.5, n, SIZE)
        Y = dot(Y, Q, PRECISION)
        Z = dot(Q, Z, PRECISION)
    if ROOT:
        store(Y_pointer, symmetric_part(tl.sqrt(s) * Y), n, SIZE, count, BATCH)
    if INVERSE_ROOT:
        store(Z_pointer, symmetric_part(Z / tl.sqrt(s)), n, SIZE, count, BATCH)


@triton.jit
def newton_schulz_gradient(
    A_pointer,
    s_pointer,
    gY_pointer,
    gZ_pointer,
    X_pointer,
    gY_strides,
    gZ_strides,
    OF_ROOT: tl.constexpr,
    OF_INVERSE_ROOT: tl.constexpr,
    STEPS: tl.constexpr,
    n,
    count,
    SIZE: tl.constexpr,
    BATCH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradients for the program's matrices, from one gradient of theirs or both."""
    s = load_scale(s_pointer, count, BATCH)
    W = symmetric_part(load(A_pointer, n, SIZE, count, BATCH)) / s
    if OF_ROOT:  # as y = B z
        gY = symmetric_part(load_strided(gY_pointer, gY_strides, n, SIZE, count, BATCH))
        dW = symmetric_part(dot(W, tl.sqrt(s) * gY, PRECISION))
        if OF_INVERSE_ROOT:
            gZ = symmetric_part(load_strided(gZ_pointer, gZ_strides, n, SIZE, count, BATCH))
            dW += gZ / tl.sqrt(s)
    else:
        gZ = symmetric_part(load_strided(gZ_pointer, gZ_strides, n, SIZE, count, BATCH))
        dW = gZ / tl.sqrt(s)
    Z = plus_identity(-0.5 * W, 1.5, n, SIZE)
    dZ = -0.5 * dW
    for _ in range(1, STEPS):
        square = dot(W, W, PRECISION)
        d_square = 2 * symmetric_part(dot(dW, W, PRECISION))
        d_cube = dot(d_square, W, PRECISION) + dot(square, dW, PRECISION)
        # what is skew would grow
        dW = symmetric_part(2.25 * dW + 0.25 * d_cube) - 1.5 * d_square
        W = 2.25 * W - 1.5 * square + 0.25 * dot(square, W, PRECISION)
        Q = plus_identity(-0.5 * W, 1.5, n, SIZE)
        dZ = dot(Q, dZ, PRECISION) - 0.5 * dot(dW, Z, PRECISION)
        Z = dot(Q, Z, PRECISION)
    # the inputs once more, as the registers do not hold them
    B = symmetric_part(load(A_pointer, n, SIZE, count, BATCH)) / s
    of_s = 0.0 * s
    if OF_INVERSE_ROOT:
        gZ = symmetric_part(load_strided(gZ_pointer, gZ_strides, n, SIZE, count, BATCH))
        of_s -= 0.5 * inner(gZ / tl.sqrt(s), Z)
    if OF_ROOT:
        gY = symmetric_part(load_strided(gY_pointer, gY_strides, n, SIZE, count, BATCH))
        through_B = dot(tl.sqrt(s) * gY, Z, PRECISION)
        of_s += 0.5 * inner(through_B, B)
        dZ += through_B
    of_s = tl.where(trace(B) > 0, of_s - inner(dZ, B), 0.0)
    X = plus_identity(symmetric_part(dZ), of_s, n, SIZE) / s
    store(X_pointer, X, n, SIZE, count, BATCH)
