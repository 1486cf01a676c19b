r"""Blocks of matrices in memory: what the kernels share that keep no matrix on chip.

A matrix is ``n²`` numbers in a row; what a block has beyond it is zero. A matrix that a program
writes and then reads again stays in the cache of the GPU; :mod:`~.team_triton` parts the two.

The size of a matrix is known when a kernel is compiled: where blocks fill it, none is masked.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import dot


@triton.jit
def block_places(row, column, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Row and column numbers of a block, and whether an entry belongs to the matrix."""
    rows = row + tl.arange(0, ROWS)[:, None]
    columns = column + tl.arange(0, COLUMNS)[None, :]
    return rows, columns, (rows < n) & (columns < n)


@triton.jit
def load_block(matrix, row, column, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """The block of a matrix that starts at ``row`` and ``column``."""
    rows, columns, inside = block_places(row, column, n, ROWS, COLUMNS)
    return tl.load(matrix + (rows * n + columns), mask=inside, other=0.0)


@triton.jit
def load_symmetric_part(
    matrix, row_stride, column_stride, row, column, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """A block of the symmetric part of a matrix with strides of its own."""
    rows, columns, inside = block_places(row, column, n, ROWS, COLUMNS)
    rows, columns = rows.to(tl.int64), columns.to(tl.int64)  # any strides
    here = tl.load(matrix + (rows * row_stride + columns * column_stride), mask=inside, other=0.0)
    there = tl.load(matrix + (columns * row_stride + rows * column_stride), mask=inside, other=0.0)
    return 0.5 * (here + there)


@triton.jit
def store_block(matrix, block, row, column, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Write a block of a matrix."""
    rows, columns, inside = block_places(row, column, n, ROWS, COLUMNS)
    tl.store(matrix + (rows * n + columns), block, mask=inside)


@triton.jit
def store_symmetric(matrix, block, row, column, n, SIZE: tl.constexpr):
    """Write a square block on or below the diagonal of a symmetric matrix, and its mirror image."""
    block = tl.where(row == column, 0.5 * (block + tl.trans(block)), block)
    store_block(matrix, block, row, column, n, SIZE, SIZE)
    store_block(matrix, tl.trans(block), column, row, n, SIZE, SIZE)


@triton.jit
def block_plus_identity(block, scale, row, column, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """``block + scale I``, on the matrix alone."""
    rows, columns, inside = block_places(row, column, n, ROWS, COLUMNS)
    return tl.where((rows == columns) & inside, block + scale, block)


@triton.jit
def block_of_product(
    left,
    right,
    row,
    column,
    n: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The block of ``left @ right`` that starts at ``row`` and ``column``."""
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in range(0, n, DEPTH):
        rows = load_block(left, row, k, n, ROWS, DEPTH)
        columns = load_block(right, k, column, n, DEPTH, COLUMNS)
        total = dot(rows, columns, PRECISION, total)
    return total


@triton.jit
def squares_of(block):
    """The sum of the squares of a block."""
    return tl.sum(tl.sum(block * block, 1), 0)


@triton.jit
def largest_on_diagonal(matrix, n, floor, SIZE: tl.constexpr):
    """The largest entry of a positive semi-definite matrix; ``floor`` where it is zero or NaN."""
    places = tl.arange(0, SIZE)
    largest = tl.max(tl.load(matrix + places * (n + 1), mask=places < n, other=0.0), 0)
    return tl.where(largest > 0, largest, floor)
