r"""The coupled iteration for root and inverse root, a launch a product, a program a block.

It takes the steps of :mod:`~.roots_triton`, with :math:`W` and :math:`Q` as they come: see
:mod:`~.cached_roots_triton`. ``state`` holds :math:`Y, Q, Z` of all matrices in this order, so that
:math:`Y Q` and :math:`Q Z` are one product of ``state`` from the first and from the second.
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
    squares_of,
    store_block,
    store_symmetric,
    sum_of_parts,
)
from covlayers.functional._iterations.tile import one_if_zero


@triton.jit
def block_of_program(n: tl.constexpr, SIZE: tl.constexpr):
    """The matrix of a program, the row and the column of its block, and their number in it."""
    side = tl.cdiv(n, SIZE)
    program = tl.program_id(0)
    block = program % (side * side)
    matrix = (program // (side * side)).to(tl.int64)
    return matrix, block // side * SIZE, block % side * SIZE, block


@triton.jit
def scaled_square(
    A_pointer,
    square_pointer,
    parts_pointer,
    floor,
    TIGHT: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    LINE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``(A / d)²`` and the parts of its squared norm, with ``d`` the largest of the diagonal."""
    matrix, row, column, block = block_of_program(n, SIZE)
    side = tl.cdiv(n, SIZE)
    parts = parts_pointer + matrix * side * side + block
    if row < column:
        tl.store(parts, 0.0)
    else:
        A = A_pointer + matrix * n * n
        largest = largest_on_diagonal(A, n, floor, LINE) if TIGHT else 1.0
        total = tl.zeros((SIZE, SIZE), tl.float32)
        for k in range(0, n, DEPTH):
            rows = load_block(A, row, k, n, SIZE, DEPTH) / largest
            columns = load_block(A, k, column, n, DEPTH, SIZE) / largest
            total = tl.dot(rows, columns, total, input_precision=PRECISION)
        store_symmetric(square_pointer + matrix * n * n, total, row, column, n, SIZE)
        tl.store(parts, tl.where(row == column, 1.0, 2.0) * squares_of(total))


@triton.jit
def polynomial_block(
    A,
    square,
    scale,
    total,
    b0,
    b1,
    b2,
    row,
    column,
    QUINTIC: tl.constexpr,
    n: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """A block of ``b0 I + b1 s + b2 s²``, for ``s = A / scale``; without ``QUINTIC`` b2 is zero."""
    block = b1 * (load_block(A, row, column, n, ROWS, COLUMNS) / scale)
    if QUINTIC:
        block += b2 * (load_block(square, row, column, n, ROWS, COLUMNS) / total)
    return block_plus_identity(block, b0, row, column, n, ROWS, COLUMNS)


@triton.jit
def cubic(
    A_pointer,
    square_pointer,
    parts_pointer,
    out_pointer,
    factor_pointer,
    scale_pointer,
    floor,
    a,
    b0,
    b1,
    b2,
    TIGHT: tl.constexpr,
    QUINTIC: tl.constexpr,
    FACTOR: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    LINE: tl.constexpr,
    PARTS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``a I + s q(s)`` with ``q(s) = b0 I + b1 s + b2 s²``, ``s = A / c`` and ``c² = |A²|``.

    ``q(s)`` is written too if ``FACTOR``, and ``c`` if ``TIGHT``; it is 1 otherwise.
    """
    matrix, row, column, block = block_of_program(n, SIZE)
    A, square = A_pointer + matrix * n * n, square_pointer + matrix * n * n
    scale, total = 1.0, 1.0
    if TIGHT:
        number = tl.cdiv(n, SIZE) * tl.cdiv(n, SIZE)
        total = sum_of_parts(parts_pointer + matrix * number, number, PARTS)
        total = one_if_zero(tl.sqrt(total))
        scale = largest_on_diagonal(A, n, floor, LINE) * tl.sqrt(total)
        if block == 0:
            tl.store(scale_pointer + matrix, scale)
    product = tl.zeros((SIZE, SIZE), tl.float32)
    for k in range(0, n, DEPTH):
        rows = load_block(A, row, k, n, SIZE, DEPTH) / scale
        columns = polynomial_block(
            A, square, scale, total, b0, b1, b2, k, column, QUINTIC, n, DEPTH, SIZE
        )
        product = tl.dot(rows, columns, product, input_precision=PRECISION)
    product = block_plus_identity(product, a, row, column, n, SIZE, SIZE)
    store_block(out_pointer + matrix * n * n, product, row, column, n, SIZE, SIZE)
    if FACTOR:
        factor = polynomial_block(
            A, square, scale, total, b0, b1, b2, row, column, QUINTIC, n, SIZE, SIZE
        )
        store_block(factor_pointer + matrix * n * n, factor, row, column, n, SIZE, SIZE)


@triton.jit
def product(
    left_pointer,
    right_pointer,
    addend_pointer,
    out_pointer,
    parts_pointer,
    alpha,
    beta,
    gamma,
    center,
    stride,
    ADDEND: tl.constexpr,
    SUMS: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``alpha L R + beta C + gamma I``, and the parts of ``‖. - center I‖²`` if ``SUMS``.

    The second of a launch has its factors ``stride`` numbers later, and its result twice as many.
    """
    matrix, row, column, block = block_of_program(n, SIZE)
    shift = matrix * n * n + tl.program_id(1).to(tl.int64) * stride
    left, right = left_pointer + shift, right_pointer + shift
    out = block_of_product(left, right, row, column, n, SIZE, SIZE, DEPTH, PRECISION)
    out = block_plus_identity(alpha * out, gamma, row, column, n, SIZE, SIZE)
    if ADDEND:
        out += beta * load_block(addend_pointer + shift, row, column, n, SIZE, SIZE)
    shift += tl.program_id(1).to(tl.int64) * stride
    store_block(out_pointer + shift, out, row, column, n, SIZE, SIZE)
    if SUMS:
        side = tl.cdiv(n, SIZE)
        out = block_plus_identity(out, -center, row, column, n, SIZE, SIZE)
        tl.store(parts_pointer + matrix * side * side + block, squares_of(out))


@triton.jit
def last_products(
    state_pointer,
    root_pointer,
    inverse_root_pointer,
    scale_pointer,
    parts_pointer,
    limit,
    stride,
    TIGHT: tl.constexpr,
    FIRST: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    PARTS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The symmetric parts of ``Y Q`` and ``Q Z``, from ``FIRST`` on, times the scales of the roots.

    A matrix is NaN if ``W``, whose parts are given, has diverged.
    """
    matrix, row, column, _ = block_of_program(n, SIZE)
    which = FIRST + tl.program_id(1)
    left = state_pointer + matrix * n * n + which.to(tl.int64) * stride
    right = left + stride
    if row >= column:
        out = block_of_product(left, right, row, column, n, SIZE, SIZE, DEPTH, PRECISION)
        mirrored = block_of_product(left, right, column, row, n, SIZE, SIZE, DEPTH, PRECISION)
        out = 0.5 * (out + tl.trans(mirrored))
        if TIGHT:
            number = tl.cdiv(n, SIZE) * tl.cdiv(n, SIZE)
            size_of_W = sum_of_parts(parts_pointer + matrix * number, number, PARTS)
            root = tl.sqrt(tl.load(scale_pointer + matrix))
            root = tl.where(size_of_W <= limit, root, float("nan"))
            out *= tl.where(which == 0, root, 1 / root)
        if which == 0:
            store_symmetric(root_pointer + matrix * n * n, out, row, column, n, SIZE)
        else:
            store_symmetric(inverse_root_pointer + matrix * n * n, out, row, column, n, SIZE)
