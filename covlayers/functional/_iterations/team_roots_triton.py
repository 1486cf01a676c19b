r"""The coupled iteration for root and inverse root, a team of programs a matrix.

It takes the steps of :mod:`~.roots_triton`.

Neither :math:`W` nor :math:`Q` may be made symmetric: of its rounding the iteration damps only what
has the order of the factors :math:`Z Y`, and the rest grows at every step.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.blocks_triton import largest_on_diagonal
from covlayers.functional._iterations.team_triton import (
    inner_product,
    join,
    write_product,
    write_sum,
    write_symmetric_part,
)
from covlayers.functional._iterations.tile import TINY, entry, one_if_zero


@triton.jit
def roots_by_team(
    A_pointer,
    root_pointer,
    inverse_root_pointer,
    scratch_pointer,
    meetings,
    parts,
    coefficients,
    center,
    limit,
    STEPS: tl.constexpr,
    TIGHT: tl.constexpr,
    QUINTIC: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    TEAM: tl.constexpr,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Root and inverse root of one matrix, each symmetric, where they are wanted."""
    number, team = join(meetings, parts, TEAM)
    start = number * n * n
    write_roots(
        A_pointer + start,
        root_pointer,
        inverse_root_pointer,
        start,
        scratch_pointer + 5 * start,
        team,
        coefficients,
        center,
        limit,
        STEPS,
        TIGHT,
        QUINTIC,
        ROOT,
        INVERSE_ROOT,
        TEAM,
        n,
        LINE,
        SIZE,
        DEPTH,
        PRECISION,
    )


@triton.jit
def write_roots(
    A,
    root_pointer,
    inverse_root_pointer,
    start,
    Y,
    team,
    coefficients,
    center,
    limit,
    STEPS: tl.constexpr,
    TIGHT: tl.constexpr,
    QUINTIC: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    TEAM: tl.constexpr,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The roots of ``A`` at ``start``; ``Y`` has space for five matrices."""
    Z = Y + n * n
    W = Z + n * n
    Q = W + n * n
    V = Q + n * n
    largest = largest_on_diagonal(A, n, TINY, LINE) if TIGHT else 1.0  # so no square overflows
    write_symmetric_part(A, n, 1, Y, largest, team, TEAM, n, SIZE)
    p, q, r = coefficients[0], coefficients[1], coefficients[2]
    scale = 1.0
    if QUINTIC:
        total = write_product(
            Y, Y, W, team, TEAM, n, SIZE, DEPTH, PRECISION, SYMMETRIC=True, center=0.0
        )
        if TIGHT:
            scale = tl.sqrt(one_if_zero(tl.sqrt(total)))
        r = r / (scale * scale)
        write_sum(Y, Z, team, TEAM, n, SIZE, q / scale, W, r, p)
    else:
        write_sum(Y, Z, team, TEAM, n, SIZE, q, gamma=p)
    size_of_W = 0.0
    if STEPS == 1:  # its W is the first, and its Q is Z
        write_sum(Y, W, team, TEAM, n, SIZE, 1 / scale, gamma=-center)
        size_of_W = inner_product(W, W, n, SIZE)
    write_product(Y, Z, V, team, TEAM, n, SIZE, DEPTH, PRECISION, alpha=1 / scale)
    Y, V = V, Y
    for k in range(1, STEPS):
        p = entry(coefficients, k, STEPS, 0)
        q = entry(coefficients, k, STEPS, 1)
        if QUINTIC:
            r = entry(coefficients, k, STEPS, 2)
            size_of_W = write_product(Z, Y, W, team, TEAM, n, SIZE, DEPTH, PRECISION, center=center)
            write_product(W, W, Q, team, TEAM, n, SIZE, DEPTH, PRECISION, False, r, W, q, p)
        else:
            write_product(Z, Y, Q, team, TEAM, n, SIZE, DEPTH, PRECISION, alpha=q, gamma=p)
        if k < STEPS - 1:
            write_product(Y, Q, W, team, TEAM, n, SIZE, DEPTH, PRECISION, MEET=False)
            write_product(Q, Z, V, team, TEAM, n, SIZE, DEPTH, PRECISION)
            Y, Z, W, V = W, V, Y, Z
    root = 1.0
    if TIGHT:  # an eigenvalue that has left [0, 1] was negative, as is all without a diagonal
        root = tl.sqrt(largest) * tl.sqrt(scale)
        bounded = (size_of_W <= limit) & (total < float("inf"))
        root = tl.where(bounded, root, float("nan"))
    Y_out, Z_out = root_pointer, inverse_root_pointer
    if ROOT:
        Y_out += start
    if INVERSE_ROOT:
        Z_out += start
    if STEPS == 1:
        if ROOT:
            write_symmetric_part(Y, n, 1, Y_out, 1 / root, team, TEAM, n, SIZE)
        if INVERSE_ROOT:
            write_symmetric_part(Z, n, 1, Z_out, root, team, TEAM, n, SIZE)
    else:
        if ROOT:
            write_product(
                Y, Q, Y_out, team, TEAM, n, SIZE, DEPTH, PRECISION, True, root, MEET=False
            )
        if INVERSE_ROOT:
            write_product(
                Q, Z, Z_out, team, TEAM, n, SIZE, DEPTH, PRECISION, True, 1 / root, MEET=False
            )
