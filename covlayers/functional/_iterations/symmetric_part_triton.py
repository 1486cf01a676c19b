r"""The symmetric part of a matrix that is symmetric up to rounding, and NaN for any other.

A matrix of any size goes through a program tile by tile, each tile :math:`A_{ij}` beside its mirror
image :math:`A_{ji}^\top`: once to judge it, and once to write :math:`(A_{ij} + A_{ji}^\top)/2`.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def symmetric_part_of(
    A_pointer, S_pointer, strides, tolerance, n, TILES: tl.constexpr, TILE: tl.constexpr
):
    """``tolerance`` is the largest asymmetry, as a part of the largest entry."""
    start = tl.program_id(0).to(tl.int64)
    A_pointer += start * strides[0]
    S_pointer += start * n * n
    largest, asymmetry, damage = 0.0, 0.0, 0
    for index in range(TILES * TILES):
        A, mirror, _, _ = two_tiles(A_pointer, strides, index // TILES, index % TILES, n, TILE)
        largest = tl.maximum(largest, tl.max(tl.abs(A)))
        asymmetry = tl.maximum(asymmetry, tl.max(A - mirror))
        damage += tl.sum(tl.where(A - A == 0, 0, 1))  # infinity less infinity is NaN
    spoilt = (damage > 0) | (asymmetry > tolerance * largest)
    for index in range(TILES * TILES):
        row, column = index // TILES, index % TILES
        A, mirror, places, inside = two_tiles(A_pointer, strides, row, column, n, TILE)
        S = tl.where(spoilt, float("nan"), (A + mirror) * 0.5)
        tl.store(S_pointer + places, S, mask=inside)


@triton.jit
def two_tiles(A_pointer, strides, row, column, n, TILE: tl.constexpr):
    """A tile, its mirror image, its places in a contiguous matrix and which of them there are."""
    rows = (row * TILE + tl.arange(0, TILE))[:, None]
    columns = (column * TILE + tl.arange(0, TILE))[None, :]
    inside = (rows < n) & (columns < n)
    i, j = rows.to(tl.int64), columns.to(tl.int64)  # any strides
    A = tl.load(A_pointer + i * strides[1] + j * strides[2], mask=inside, other=0.0)
    mirror = tl.load(A_pointer + j * strides[1] + i * strides[2], mask=inside, other=0.0)
    return A, mirror, rows * n + columns, inside
