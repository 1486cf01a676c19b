"""What every kernel does with a matrix on chip: one program, one matrix, one padded square tile.

The padding is zero, also in the identity, and products keep it so: the leading block of
every tile is what a tile of the matrix's own size would hold.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import torch
import triton
import triton.language as tl

TINY = tl.constexpr(torch.finfo(torch.float32).tiny ** 0.375)


@triton.jit
def place(n, SIZE: tl.constexpr):
    """Row and column numbers of the tile, and whether an entry belongs to the matrix."""
    rows = tl.arange(0, SIZE)[:, None]
    columns = tl.arange(0, SIZE)[None, :]
    return rows, columns, (rows < n) & (columns < n)


@triton.jit
def load(pointer, n, SIZE: tl.constexpr):
    """The program's matrix, padded."""
    rows, columns, inside = place(n, SIZE)
    start = tl.program_id(0).to(tl.int64) * n * n
    return tl.load(pointer + start + rows * n + columns, mask=inside, other=0.0)


@triton.jit
def store(pointer, tile, n, SIZE: tl.constexpr):
    """Write the program's matrix without its padding."""
    rows, columns, inside = place(n, SIZE)
    start = tl.program_id(0).to(tl.int64) * n * n
    tl.store(pointer + start + rows * n + columns, tile, mask=inside)


@triton.jit
def plus_identity(tile, scale, n, SIZE: tl.constexpr):
    """``tile + scale I``, on the matrix alone."""
    rows, columns, inside = place(n, SIZE)
    return tl.where((rows == columns) & inside, tile + scale, tile)


@triton.jit
def dot(A, B, PRECISION: tl.constexpr):
    """The product with float32 accuracy."""
    return tl.dot(A, B, input_precision=PRECISION)


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
    return tl.sum(tl.sum(tile * tile, 1), 0)


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
