r"""The coupled iteration for root and inverse root, one program a matrix of up to 128 rows.

The steps are those of :mod:`~.roots_triton`. A product keeps its result in registers; its factors
come from memory, block by block: :math:`Y` and :math:`Z` where the results go, :math:`W` and then
:math:`Q` in a matrix of scratch.

Neither :math:`W` nor :math:`Q` may be made symmetric: of its rounding the iteration damps only what
has the order of the factors :math:`Z Y`, and the rest grows at every step.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.blocks_triton import (
    block_of_product,
    block_plus_identity,
    largest_on_diagonal,
    load_block,
    load_symmetric_part,
    store_block,
)
from covlayers.functional._iterations.tile import TINY, entry, one_if_zero, square_sum


@triton.jit
def cached_iteration(
    A_pointer,
    Y_pointer,
    Z_pointer,
    Q_pointer,
    coefficients,
    STEPS: tl.constexpr,
    TIGHT: tl.constexpr,
    QUINTIC: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Root and inverse root of one matrix, each symmetric where it is wanted."""
    start = tl.program_id(0).to(tl.int64) * n * n
    Y, Z, Q = Y_pointer + start, Z_pointer + start, Q_pointer + start
    A = load_block(A_pointer + start, 0, 0, n, SIZE, SIZE)
    if TIGHT:
        largest = largest_on_diagonal(A_pointer + start, n, TINY, SIZE)
        A = A / largest  # so that no square overflows
    size_of_W = square_sum(A)
    store_block(Y, A, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    root = 1.0
    if TIGHT or QUINTIC:
        square = block_of_product(Y, Y, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
        A = load_block(Y, 0, 0, n, SIZE, SIZE)
        if TIGHT:
            total = one_if_zero(tl.sqrt(square_sum(square)))
            A = A / tl.sqrt(total)
            size_of_W = size_of_W / total
            square = square / total
            root = tl.sqrt(largest * tl.sqrt(total))
            tl.debug_barrier()
            store_block(Y, A, 0, 0, n, SIZE, SIZE)
        A = coefficients[1] * A + coefficients[2] * square
    else:
        A = coefficients[1] * A
    A = block_plus_identity(A, coefficients[0], 0, 0, n, SIZE, SIZE)
    store_block(Z, A, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    A = block_of_product(Y, Z, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
    tl.debug_barrier()
    store_block(Y, A, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    for k in range(1, STEPS):
        W = block_of_product(Z, Y, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
        size_of_W = square_sum(W)
        if QUINTIC:
            store_block(Q, W, 0, 0, n, SIZE, SIZE)
            tl.debug_barrier()
            square = block_of_product(Q, Q, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
            W = load_block(Q, 0, 0, n, SIZE, SIZE)
            W = entry(coefficients, k, STEPS, 1) * W + entry(coefficients, k, STEPS, 2) * square
            tl.debug_barrier()
        else:
            W = entry(coefficients, k, STEPS, 1) * W
        W = block_plus_identity(W, entry(coefficients, k, STEPS, 0), 0, 0, n, SIZE, SIZE)
        store_block(Q, W, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
        if ROOT or k < STEPS - 1:
            W = block_of_product(Y, Q, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
            tl.debug_barrier()
            store_block(Y, W, 0, 0, n, SIZE, SIZE)
        if INVERSE_ROOT or k < STEPS - 1:
            W = block_of_product(Q, Z, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
            tl.debug_barrier()
            store_block(Z, W, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
    if TIGHT:  # an eigenvalue that has left [0, 1] was negative
        root = tl.where(size_of_W <= n + 16, root, float("nan"))
    if ROOT:
        A = root * load_symmetric_part(Y, n, 1, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
        store_block(Y, A, 0, 0, n, SIZE, SIZE)
    if INVERSE_ROOT:
        A = load_symmetric_part(Z, n, 1, 0, 0, n, SIZE, SIZE) / root
        tl.debug_barrier()
        store_block(Z, A, 0, 0, n, SIZE, SIZE)
