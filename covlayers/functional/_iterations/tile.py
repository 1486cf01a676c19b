"""What every kernel does with matrices on chip: a program has one, in a padded square tile.

The padding is zero, also in the identity, and products keep it so: the leading block of
every tile is what a tile of the matrix's own size would hold.

A program of ``BATCH`` > 1 has as many, in a stack of tiles ``(BATCH, SIZE, SIZE)``. What is reduced
keeps its dimensions, so that the same lines serve one tile and a stack.
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
def load(pointer, n, SIZE: tl.constexpr, count=1, BATCH: tl.constexpr = 1):
    """The program's matrices, padded."""
    return load_strided(pointer, (n * n, n, 1), n, SIZE, count, BATCH)


@triton.jit
def load_strided(pointer, strides, n, SIZE: tl.constexpr, count, BATCH: tl.constexpr):
    """The program's matrices, padded, from a batch with ``strides``: of it, of rows, of columns."""
    rows, columns, inside = place(n, SIZE)
    offsets = rows * strides[1] + columns * strides[2]
    first = tl.program_id(0).to(tl.int64) * BATCH
    if BATCH == 1:
        return tl.load(pointer + first * strides[0] + offsets, mask=inside, other=0.0)
    else:
        index = (first + tl.arange(0, BATCH))[:, None, None]
        places = pointer + index * strides[0] + offsets[None, :, :]
        return tl.load(places, mask=(index < count) & inside[None, :, :], other=0.0)


@triton.jit
def load_scale(pointer, count, BATCH: tl.constexpr):
    """The number that belongs to each of the program's matrices."""
    first = tl.program_id(0).to(tl.int64) * BATCH
    if BATCH == 1:
        return tl.load(pointer + first)
    else:
        index = (first + tl.arange(0, BATCH))[:, None, None]
        return tl.load(pointer + index, mask=index < count, other=1.0)


@triton.jit
def store(pointer, tile, n, SIZE: tl.constexpr, count=1, BATCH: tl.constexpr = 1):
    """Write the program's matrices without their padding."""
    rows, columns, inside = place(n, SIZE)
    offsets = rows * n + columns
    first = tl.program_id(0).to(tl.int64) * BATCH
    if BATCH == 1:
        tl.store(pointer + first * n * n + offsets, tile, mask=inside)
    else:
        index = (first + tl.arange(0, BATCH))[:, None, None]
        places = pointer + index * n * n + offsets[None, :, :]
        tl.store(places, tile, mask=(index < count) & inside[None, :, :])


@triton.jit
def plus_identity(tile, scale, n, SIZE: tl.constexpr):
    """``tile + scale I``, on the matrix alone."""
    rows, columns, inside = place(n, SIZE)
    diagonal = (rows == columns) & inside
    if len(tile.shape) == 3:
        diagonal = diagonal[None, :, :]
    return tl.where(diagonal, tile + scale, tile)


@triton.jit
def symmetric_part(tile):
    """``(tile + tileᵀ) / 2``."""
    if len(tile.shape) == 3:
        return (tile + tl.permute(tile, (0, 2, 1))) * 0.5
    else:
        return (tile + tl.trans(tile)) * 0.5


@triton.jit
def dot(A, B, PRECISION: tl.constexpr, addend=None):
    """``A B + addend`` with float32 accuracy, of three products on the tensor cores.

    Triton's own ``tf32x3`` also looks for NaN between the products, which takes longer than they
    do. Here what is not finite makes the low part NaN, and so the result.
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
    rank: tl.constexpr = len(tile.shape)
    rows = tl.sum(tile * tile, rank - 1, keep_dims=True)
    return tl.sum(rows, rank - 2, keep_dims=True)


@triton.jit
def peak(tile):
    """The largest absolute entry."""
    rank: tl.constexpr = len(tile.shape)
    rows = tl.max(tl.abs(tile), rank - 1, keep_dims=True)
    return tl.max(rows, rank - 2, keep_dims=True)


@triton.jit
def entry(triples, k, STEPS: tl.constexpr, OFFSET: tl.constexpr):
    """``triples[3 * k + OFFSET]`` of a tuple of scalars, for a ``k`` known on chip only."""
    found = triples[OFFSET]
    for j in tl.static_range(1, STEPS):
        found = tl.where(k == j, triples[3 * j + OFFSET], found)
    return found


@triton.jit
def store_scale(pointer, scale, count, BATCH: tl.constexpr):
    """Write the number that belongs to each of the program's matrices."""
    first = tl.program_id(0).to(tl.int64) * BATCH
    if BATCH == 1:
        tl.store(pointer + first + tl.zeros((1, 1), tl.int32), scale)
    else:
        index = (first + tl.arange(0, BATCH))[:, None, None]
        tl.store(pointer + index, scale, mask=index < count)


@triton.jit
def inner(first, second):
    """The sum of the products of the entries."""
    rank: tl.constexpr = len(first.shape)
    rows = tl.sum(first * second, rank - 1, keep_dims=True)
    return tl.sum(rows, rank - 2, keep_dims=True)


@triton.jit
def trace(tile):
    """The sum of the diagonal."""
    size: tl.constexpr = tile.shape[len(tile.shape) - 1]
    return inner(tile, plus_identity(tl.zeros_like(tile), 1.0, size, size))


@triton.jit
def semidefinite(tile, n, SIZE: tl.constexpr):
    """Whether no eigenvalue is below -1% of the Frobenius norm.

    As many eigenvalues of ``tile`` plus 1% of its norm are positive as there are positive pivots.
    """
    rank: tl.constexpr = len(tile.shape)
    norm = one_if_zero(tl.sqrt(square_sum(tile)))
    M = plus_identity(tile / norm, BEYOND_ROUNDING, n, SIZE)
    rows, columns, _ = place(n, SIZE)
    if rank == 3:
        rows, columns = rows[None, :, :], columns[None, :, :]
    positive = norm < float("inf")
    for k in range(n):
        row = tl.sum(tl.where(rows == k, M, 0.0), rank - 2, keep_dims=True)
        column = tl.sum(tl.where(columns == k, M, 0.0), rank - 1, keep_dims=True)
        pivot = tl.sum(tl.where(columns == k, row, 0.0), rank - 1, keep_dims=True)
        positive = positive & (pivot > 0)
        M -= column * (row / pivot)
    return positive
