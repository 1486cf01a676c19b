r"""The Smith iteration for the gradient of roots, one program a matrix of up to 128 rows.

.. math:: Y X + X Y = R, \qquad R = g_Y - Z\, g_Z\, Z

with the symmetric parts of the gradients. The steps are those of :mod:`~.smith_triton`, and the
first Newton step is a polynomial of :math:`s = Y/b`, whose square the bound :math:`b` has needed.
A product keeps its result in registers; its factors come from memory, block by block: :math:`X`
where it goes, :math:`V`, then :math:`C`, and what is between two products in scratch.
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
from covlayers.functional._iterations.tile import one_if_zero, square_sum


@triton.jit
def cached_gradient(
    Y_pointer,
    Z_pointer,
    gY_pointer,
    gZ_pointer,
    X_pointer,
    scratch_pointer,
    gY_batch,
    gY_row,
    gY_column,
    gZ_batch,
    gZ_row,
    gZ_column,
    floor,
    p,
    c0,
    c1,
    c2,
    c3,
    rho,
    OF_ROOT: tl.constexpr,
    OF_INVERSE_ROOT: tl.constexpr,
    NEWTON_STEPS: tl.constexpr,
    DOUBLINGS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradient of one matrix, symmetric."""
    number = tl.program_id(0).to(tl.int64)
    start = number * n * n
    Y, X = Y_pointer + start, X_pointer + start
    V = scratch_pointer + 2 * start
    T = V + n * n
    largest = largest_on_diagonal(Y, n, floor, SIZE)

    # V of the first Newton step, c0 I + s (c1 I + c2 s + c3 s²)
    block = load_block(Y, 0, 0, n, SIZE, SIZE) / largest
    store_block(X, block, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    square = block_of_product(X, X, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
    total = one_if_zero(tl.sqrt(square_sum(square)))
    bound = largest * tl.sqrt(total)
    block = load_block(X, 0, 0, n, SIZE, SIZE) / tl.sqrt(total)
    block = c2 * block + c3 / total * square
    block = block_plus_identity(block, c1, 0, 0, n, SIZE, SIZE)
    store_block(T, block, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    block = block_of_product(Y, T, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION) / bound
    store_block(V, block_plus_identity(block, c0, 0, 0, n, SIZE, SIZE), 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()

    for _ in range(1, NEWTON_STEPS):  # V M V, with M = (s + pI)/(1 + p)
        beta = 2 / (2 - rho * rho)
        rho = rho * rho * beta / 2
        block = block_of_product(V, Y, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION) / bound
        block = (block + p * load_block(V, 0, 0, n, SIZE, SIZE)) / (1 + p)
        store_block(T, block, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
        block = block_of_product(T, V, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
        block = beta * (2 * load_block(V, 0, 0, n, SIZE, SIZE) - block)
        tl.debug_barrier()
        store_block(V, block, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()

    if OF_INVERSE_ROOT:
        Z = Z_pointer + start
        gZ = gZ_pointer + number * gZ_batch
        block = load_symmetric_part(gZ, gZ_row, gZ_column, 0, 0, n, SIZE, SIZE)
        store_block(X, block, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
        block = block_of_product(Z, X, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
        store_block(T, block, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
        block = -block_of_product(T, Z, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
    if OF_ROOT:
        gY = gY_pointer + number * gY_batch
        right = load_symmetric_part(gY, gY_row, gY_column, 0, 0, n, SIZE, SIZE)
        block = block + right if OF_INVERSE_ROOT else right
    store_block(X, block, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    block = block_of_product(V, X, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
    store_block(T, block, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    block = block_of_product(T, V, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
    store_block(X, 2 * p / (bound * (1 + p) * (1 + p)) * block, 0, 0, n, SIZE, SIZE)
    block = -2 * p / (1 + p) * load_block(V, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    store_block(V, block_plus_identity(block, 1.0, 0, 0, n, SIZE, SIZE), 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()

    for _ in range(DOUBLINGS):
        block = block_of_product(V, X, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
        store_block(T, block, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
        block = block_of_product(T, V, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
        block += load_block(X, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()
        store_block(X, block, 0, 0, n, SIZE, SIZE)
        block = block_of_product(V, V, 0, 0, n, SIZE, SIZE, DEPTH, PRECISION)
        tl.debug_barrier()
        store_block(V, block, 0, 0, n, SIZE, SIZE)
        tl.debug_barrier()

    block = load_symmetric_part(X, n, 1, 0, 0, n, SIZE, SIZE)
    tl.debug_barrier()
    store_block(X, block, 0, 0, n, SIZE, SIZE)
