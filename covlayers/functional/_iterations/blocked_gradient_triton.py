r"""The Smith iteration for the gradient of roots, a launch a step, a program a few rows.

A step is a congruence :math:`L M L` of symmetric matrices: a program takes its rows :math:`L_i` to
:math:`T_i = L_i M`, which it writes, and then to :math:`T_i L`, which needs no rows of other
programs. It stops at the diagonal, for the result is symmetric.
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
    store_block,
    store_symmetric,
)


@triton.jit
def congruence(
    L_pointer,
    M_pointer,
    D_pointer,
    rows_pointer,
    out_pointer,
    second_pointer,
    bound_pointer,
    M_strides,
    D_strides,
    alpha,
    beta,
    inner,
    cayley,
    SCALED: tl.constexpr,
    GIVEN: tl.constexpr,
    ADDEND: tl.constexpr,
    SQUARE: tl.constexpr,
    CAYLEY: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``alpha (L M + inner L) L + beta D``, and as a second result one of ``L``.

    That is ``L²`` if ``SQUARE``, and ``I + cayley L`` if ``CAYLEY``. ``M`` is divided by the bound
    if ``SCALED``. Of ``M`` and ``D``, with the strides they have, the symmetric parts are taken if
    ``GIVEN``.
    """
    panels = tl.cdiv(n, SIZE)
    matrix = (tl.program_id(0) // panels).to(tl.int64)
    row = (panels - 1 - tl.program_id(0) % panels) * SIZE  # the longest rows first
    start = matrix * n * n
    L, rows = L_pointer + start, rows_pointer + start
    M = M_pointer + matrix * M_strides[0]
    bound = tl.load(bound_pointer + matrix) if SCALED else 1.0
    for column in range(0, n, SIZE):
        T = tl.zeros((SIZE, SIZE), tl.float32)
        for k in range(0, n, DEPTH):
            if GIVEN:
                right = load_symmetric_part(
                    M, M_strides[1], M_strides[2], k, column, n, DEPTH, SIZE
                )
            else:
                right = load_block(M, k, column, n, DEPTH, SIZE)
            left = load_block(L, row, k, n, SIZE, DEPTH)
            T = tl.dot(left, right, T, input_precision=PRECISION)
        T = T / bound + inner * load_block(L, row, column, n, SIZE, SIZE)
        store_block(rows, T, row, column, n, SIZE, SIZE)
    tl.debug_barrier()
    for column in range(0, n, SIZE):
        if column <= row:
            out = alpha * block_of_product(rows, L, row, column, n, SIZE, SIZE, DEPTH, PRECISION)
            if ADDEND:
                D = D_pointer + matrix * D_strides[0]
                if GIVEN:
                    block = load_symmetric_part(
                        D, D_strides[1], D_strides[2], row, column, n, SIZE, SIZE
                    )
                else:
                    block = load_block(D, row, column, n, SIZE, SIZE)
                out += beta * block
            store_symmetric(out_pointer + start, out, row, column, n, SIZE)
            if SQUARE:
                out = block_of_product(L, L, row, column, n, SIZE, SIZE, DEPTH, PRECISION)
                store_symmetric(second_pointer + start, out, row, column, n, SIZE)
            if CAYLEY:
                out = cayley * load_block(L, row, column, n, SIZE, SIZE)
                out = block_plus_identity(out, 1.0, row, column, n, SIZE, SIZE)
                store_symmetric(second_pointer + start, out, row, column, n, SIZE)
