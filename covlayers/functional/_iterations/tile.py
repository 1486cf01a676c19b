"""What every kernel does with matrices on chip: a program has one, in a padded square tile.

The padding is zero, also in the identity, and products keep it so: the leading block of
every tile is what a tile of the matrix's own size would hold.

Several matrices a program, whose chains of products would overlap, were tried on a GPU: a program
for each took less time at every size.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import torch
import triton
import triton.language as tl

from covlayers.functional._base import linalg

TINY = tl.constexpr(torch.finfo(torch.float32).tiny ** 0.375)
BEYOND_ROUNDING = tl.constexpr(linalg.BEYOND_ROUNDING)


@triton.jit
def place(n, SIZE: tl.constexpr):
    """Row and column numbers of the tile, and whether an entry belongs to the matrix."""
    rows = tl.arange(0, SIZE)[:, None]
    columns = tl.arange(0, SIZE)[None, :]
    return rows, columns, (rows < n) & (columns < n)


@triton.jit
def load(pointer, n, SIZE: tl.constexpr):
    """The program's matrix, padded."""
    return load_strided(pointer, (n * n, n, 1), n, SIZE)


@triton.jit
def load_strided(pointer, strides, n, SIZE: tl.constexpr):
    """The program's matrix, padded, from a batch with ``strides``: of it, of rows, of columns."""
    rows, columns, inside = place(n, SIZE)
    offsets = rows.to(tl.int64) * strides[1] + columns.to(tl.int64) * strides[2]
    start = tl.program_id(0).to(tl.int64) * strides[0]
    return tl.load(pointer + start + offsets, mask=inside, other=0.0)


@triton.jit
def load_scale(pointer):
    """The number that belongs to the program's matrix."""
    return tl.load(pointer + tl.program_id(0))


@triton.jit
def store(pointer, tile, n, SIZE: tl.constexpr):
    """Write the program's matrix without its padding."""
    rows, columns, inside = place(n, SIZE)
    start = tl.program_id(0).to(tl.int64) * n * n
    tl.store(pointer + start + (rows * n + columns), tile, mask=inside)


@triton.jit
def store_scale(pointer, scale):
    """Write the number that belongs to the program's matrix."""
    tl.store(pointer + tl.program_id(0), scale)


@triton.jit
def plus_identity(tile, scale, n, SIZE: tl.constexpr):
    """``tile + scale I``, on the matrix alone."""
    rows, columns, inside = place(n, SIZE)
    return tl.where((rows == columns) & inside, tile + scale, tile)


@triton.jit
def symmetric_part(tile):
    """``(tile + tileᵀ) / 2``."""
    return (tile + tl.trans(tile)) * 0.5


@triton.jit
def dot(A, B, PRECISION: tl.constexpr, addend=None):
    """``A B + addend`` with float32 accuracy, of three products on the tensor cores.

    Triton's own ``tf32x3`` also looks for NaN between the products, which takes longer than they
    do. Here what is not finite makes the low part NaN, and so the result; so do the last finite
    numbers, from 3.402e38 on, whose high part is rounded to infinity.
    """
    if PRECISION == "tf32x3":
        A_high, B_high = high_part(A), high_part(B)
        total = tl.dot(A - A_high, B_high, addend, input_precision="tf32")
        total = tl.dot(A_high, B - B_high, total, input_precision="tf32")
        return tl.dot(A_high, B_high, total, input_precision="tf32")
    else:
        return tl.dot(A, B, addend, input_precision=PRECISION)


@triton.jit
def high_part(tile):
    """Rounded to the 11 bits that TF32 has of a float32's 24; the rest has 12 and a sign."""
    bits = tile.to(tl.int32, bitcast=True)
    return ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)


@triton.jit
def nonzero(scale):
    """``scale``, or a tiny number where it is zero or NaN."""
    return tl.where(scale > 0, scale, TINY)


@triton.jit
def one_if_zero(scale):
    """``scale``, or 1 where it is zero or NaN."""
    return tl.where(scale > 0, scale, 1.0)


@triton.jit
def square_sum(tile):
    """The squared Frobenius norm."""
    return inner(tile, tile)


@triton.jit
def peak(tile):
    """The largest absolute entry."""
    return tl.max(tl.max(tl.abs(tile), 1), 0)


@triton.jit
def entry(triples, k, STEPS: tl.constexpr, OFFSET: tl.constexpr):
    """``triples[3 * k + OFFSET]`` of a tuple of scalars, for a ``k`` known on chip only."""
    found = triples[OFFSET]
    for j in tl.static_range(1, STEPS):
        found = tl.where(k == j, triples[3 * j + OFFSET], found)
    return found


@triton.jit
def inner(first, second):
    """The sum of the products of the entries."""
    return tl.sum(tl.sum(first * second, 1), 0)


@triton.jit
def trace(tile):
    """The sum of the diagonal."""
    size: tl.constexpr = tile.shape[1]
    return inner(tile, plus_identity(tl.zeros_like(tile), 1.0, size, size))


@triton.jit
def semidefinite(tile, n, SIZE: tl.constexpr):
    """Whether no eigenvalue is below -1% of the Frobenius norm.

    As many eigenvalues of ``tile`` plus 1% of its norm are positive as there are positive pivots.
    """
    norm = one_if_zero(tl.sqrt(square_sum(tile)))
    M = plus_identity(tile / norm, BEYOND_ROUNDING, n, SIZE)
    rows, columns, _ = place(n, SIZE)
    positive = norm < float("inf")
    for k in range(n):
        row = tl.sum(tl.where(rows == k, M, 0.0), 0, keep_dims=True)
        column = tl.sum(tl.where(columns == k, M, 0.0), 1, keep_dims=True)
        pivot = tl.sum(tl.sum(tl.where(columns == k, row, 0.0), 1), 0)
        positive = positive & (pivot > 0)
        M -= column * (row / pivot)
    return positive
