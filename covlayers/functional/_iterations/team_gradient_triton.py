r"""The Smith iteration for the gradient of roots, a team of programs a matrix.

.. math:: Y X + X Y = R, \qquad R = g_Y - Z\, g_Z\, Z

with the symmetric parts of the gradients. It takes the steps of :mod:`~.smith_triton`, and the
first Newton step is a polynomial of :math:`s = Y/b`, whose square the bound :math:`b` has needed.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.blocks_triton import largest_on_diagonal
from covlayers.functional._iterations.team_triton import (
    join,
    write_product,
    write_sum,
    write_symmetric_part,
)
from covlayers.functional._iterations.tile import one_if_zero


@triton.jit
def gradient_by_team(
    Y_pointer,
    Z_pointer,
    gY_pointer,
    gZ_pointer,
    X_pointer,
    scratch_pointer,
    meetings,
    parts,
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
    TEAM: tl.constexpr,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient of one matrix, symmetric."""
    number, team = join(meetings, parts, TEAM)
    start = number * n * n
    Y, X = Y_pointer + start, X_pointer + start
    V = scratch_pointer + 3 * start
    T = V + n * n
    F = T + n * n

    largest = largest_on_diagonal(Y, n, floor, LINE)
    write_sum(Y, X, team, TEAM, n, SIZE, 1 / largest)
    total = write_product(X, X, T, team, TEAM, n, SIZE, DEPTH, PRECISION, True, center=0.0)
    scale = tl.sqrt(one_if_zero(tl.sqrt(total)))
    bound = largest * scale
    c0, c1, c2, c3 = start_of_V
    write_sum(X, F, team, TEAM, n, SIZE, c2 / scale, T, c3 / (scale * scale), c1)
    write_product(X, F, V, team, TEAM, n, SIZE, DEPTH, PRECISION, True, 1 / scale, gamma=c0)
    inner, shift = 1 / (bound * (1 + p)), p / (1 + p)
    for _ in range(1, NEWTON_STEPS):  # V M V, with M = (s + pI)/(1 + p)
        beta = 2 / (2 - rho * rho)
        rho = rho * rho * beta / 2
        write_product(V, Y, T, team, TEAM, n, SIZE, DEPTH, PRECISION, False, inner, V, shift)
        write_product(T, V, F, team, TEAM, n, SIZE, DEPTH, PRECISION, True, -beta, V, 2 * beta)
        V, F = F, V

    if OF_INVERSE_ROOT:
        Z, gZ = Z_pointer + start, gZ_pointer + number * gZ_strides[0]
        write_symmetric_part(gZ, gZ_strides[1], gZ_strides[2], X, 1.0, team, TEAM, n, SIZE)
        write_product(Z, X, T, team, TEAM, n, SIZE, DEPTH, PRECISION)
    if OF_ROOT:
        gY = gY_pointer + number * gY_strides[0]
        write_symmetric_part(gY, gY_strides[1], gY_strides[2], F, 1.0, team, TEAM, n, SIZE)
    if OF_INVERSE_ROOT:
        addend = F if OF_ROOT else None
        write_product(T, Z, F, team, TEAM, n, SIZE, DEPTH, PRECISION, True, -1.0, addend)
    write_product(V, F, T, team, TEAM, n, SIZE, DEPTH, PRECISION)
    alpha = 2 * p / (bound * (1 + p) * (1 + p))
    write_product(T, V, X, team, TEAM, n, SIZE, DEPTH, PRECISION, True, alpha, MEET=False)
    write_sum(V, F, team, TEAM, n, SIZE, -2 * p / (1 + p), gamma=1.0)
    C, F = F, V
    for k in range(DOUBLINGS):
        if k < DOUBLINGS - 1:
            write_product(C, C, F, team, TEAM, n, SIZE, DEPTH, PRECISION, True, MEET=False)
        write_product(C, X, T, team, TEAM, n, SIZE, DEPTH, PRECISION)
        write_product(T, C, X, team, TEAM, n, SIZE, DEPTH, PRECISION, True, 1.0, X)
        C, F = F, C
