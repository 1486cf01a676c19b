"""Whole matrices in memory, one program each: what it writes it may read again.

A program goes through a result block by block, with a barrier before its threads read what other
threads have written. The matrices of a program stay in the cache of the GPU.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.blocks_triton import (
    block_of_product,
    block_plus_identity,
    load_block,
    load_symmetric_part,
    squares_of,
    store_block,
)


@triton.jit
def write_product(
    left,
    right,
    addend,
    out,
    alpha,
    beta,
    gamma,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    center=0.0,
):
    """``alpha L R + beta C + gamma I``; ``beta`` None leaves out ``C``.

    Returned: the squared norm of the result less ``center I``.
    """
    size = 0.0
    for row in range(0, n, SIZE):
        for column in range(0, n, SIZE):
            block = block_of_product(left, right, row, column, n, SIZE, SIZE, DEPTH, PRECISION)
            block = block_plus_identity(alpha * block, gamma, row, column, n, SIZE, SIZE)
            if beta is not None:
                block += beta * load_block(addend, row, column, n, SIZE, SIZE)
            store_block(out, block, row, column, n, SIZE, SIZE)
            size += squares_of(block_plus_identity(block, -center, row, column, n, SIZE, SIZE))
    tl.debug_barrier()
    return size


@triton.jit
def write_sum(first, second, out, alpha, beta, gamma, n: tl.constexpr, SIZE: tl.constexpr):
    """``alpha A + beta B + gamma I``, without ``B`` where ``beta`` is None."""
    for row in range(0, n, SIZE):
        for column in range(0, n, SIZE):
            block = alpha * load_block(first, row, column, n, SIZE, SIZE)
            if beta is not None:
                block += beta * load_block(second, row, column, n, SIZE, SIZE)
            block = block_plus_identity(block, gamma, row, column, n, SIZE, SIZE)
            store_block(out, block, row, column, n, SIZE, SIZE)
    tl.debug_barrier()


@triton.jit
def write_symmetric_part(
    matrix, row_stride, column_stride, out, scale, n: tl.constexpr, SIZE: tl.constexpr
):
    """The symmetric part of a matrix with strides of its own, divided by ``scale``."""
    for row in range(0, n, SIZE):
        for column in range(0, n, SIZE):
            block = load_symmetric_part(
                matrix, row_stride, column_stride, row, column, n, SIZE, SIZE
            )
            store_block(out, block / scale, row, column, n, SIZE, SIZE)
    tl.debug_barrier()


@triton.jit
def inner_product(first, second, n, SIZE: tl.constexpr):
    """The sum of the products of the entries."""
    total = 0.0
    for row in range(0, n, SIZE):
        for column in range(0, n, SIZE):
            block = load_block(first, row, column, n, SIZE, SIZE)
            block *= load_block(second, row, column, n, SIZE, SIZE)
            total += tl.sum(tl.sum(block, 1), 0)
    return total
