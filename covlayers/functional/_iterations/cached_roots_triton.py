r"""The coupled iteration for root and inverse root, one program a matrix of up to 128 rows.

It takes the steps of :mod:`~.roots_triton`.

Neither :math:`W` nor :math:`Q` may be made symmetric: of its rounding the iteration damps only what
has the order of the factors :math:`Z Y`, and the rest grows at every step.
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
from covlayers.functional._iterations.tile import TINY, entry, one_if_zero


@triton.jit
def cached_iteration(
    A_pointer,
    root_pointer,
    inverse_root_pointer,
    scratch_pointer,
    coefficients,
    center,
    limit,
    STEPS: tl.constexpr,
    TIGHT: tl.constexpr,
    QUINTIC: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Root and inverse root of one matrix, each symmetric, where they are wanted."""
    start = tl.program_id(0).to(tl.int64) * n * n
    write_roots(
        A_pointer + start,
        root_pointer,
        inverse_root_pointer,
        start,
        scratch_pointer + 4 * start,
        coefficients,
        center,
        limit,
        STEPS,
        TIGHT,
        QUINTIC,
        ROOT,
        INVERSE_ROOT,
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
    coefficients,
    center,
    limit,
    STEPS: tl.constexpr,
    TIGHT: tl.constexpr,
    QUINTIC: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The roots of ``A`` at ``start``; ``Y`` has space for four matrices."""
    Z = Y + n * n
    W = Z + n * n
    Q = W + n * n
    largest = largest_on_diagonal(A, n, TINY, LINE) if TIGHT else 1.0  # so no square overflows
    write_symmetric_part(A, n, 1, Y, largest, n, SIZE)
    scale = 1.0
    if QUINTIC:
        size_of_W = write_product(Y, Y, Y, W, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        if TIGHT:
            scale = tl.sqrt(one_if_zero(tl.sqrt(size_of_W)))
    p, q, r = coefficients[0], coefficients[1], coefficients[2]
    write_sum(Y, W, Z, q / scale, r / (scale * scale) if QUINTIC else None, p, n, SIZE)
    write_product(Y, Z, Y, W, 1 / scale, None, 0.0, n, SIZE, DEPTH, PRECISION)
    Y, W = W, Y
    size_of_W = 0.0
    for k in range(1, STEPS):
        p = entry(coefficients, k, STEPS, 0)
        q = entry(coefficients, k, STEPS, 1)
        if QUINTIC:
            r = entry(coefficients, k, STEPS, 2)
            size_of_W = write_product(Z, Y, Z, W, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION, center)
            write_product(W, W, W, Q, r, q, p, n, SIZE, DEPTH, PRECISION)
        else:
            write_product(Z, Y, Z, Q, q, None, p, n, SIZE, DEPTH, PRECISION)
        if ROOT or k < STEPS - 1:
            write_product(Y, Q, Y, W, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        if INVERSE_ROOT or k < STEPS - 1:
            write_product(Q, Z, Q, Y, 1.0, None, 0.0, n, SIZE, DEPTH, PRECISION)
        Y, Z, W = W, Y, Z
    root = 1.0
    if TIGHT:  # an eigenvalue that has left [0, 1] was negative
        root = tl.sqrt(largest) * tl.sqrt(scale)
        root = tl.where(size_of_W <= limit, root, float("nan"))
    if ROOT:
        write_symmetric_part(Y, n, 1, root_pointer + start, 1 / root, n, SIZE)
    if INVERSE_ROOT:
        write_symmetric_part(Z, n, 1, inverse_root_pointer + start, root, n, SIZE)
