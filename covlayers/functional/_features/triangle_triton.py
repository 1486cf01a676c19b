"""The upper triangle of symmetric matrices and its derivative, one program for each tile."""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.tile import block, in_triangle, put, span


@triton.jit
def put_triangle(pointer, tile, rows, columns, n, ISOMETRIC: tl.constexpr):
    """Write what of a tile lies on or above the diagonal."""
    low, high = rows[:, None], columns[None, :]
    if ISOMETRIC:
        tile = tl.where(low == high, tile, 1.4142135623730951 * tile)
    tl.store(pointer + in_triangle(low, high, n), tile, mask=(low <= high) & (high < n))


@triton.jit
def triangle_of_matrix(
    A_pointer,
    v_pointer,
    n_stride,
    row_stride,
    column_stride,
    n,
    ISOMETRIC: tl.constexpr,
    TILE: tl.constexpr,
):
    """One tile on or above the diagonal."""
    sample = tl.program_id(0).to(tl.int64)
    i, j = tl.program_id(1), tl.program_id(2)
    if j < i:
        return
    rows, columns = span(i * TILE, TILE), span(j * TILE, TILE)
    tile = block(A_pointer + sample * n_stride, rows, columns, row_stride, column_stride, n, n)
    put_triangle(v_pointer + sample * (n * (n + 1) // 2), tile, rows, columns, n, ISOMETRIC)


@triton.jit
def gradient_of_triangle(
    v_pointer,
    G_pointer,
    n_stride,
    stride,
    n,
    ISOMETRIC: tl.constexpr,
    TILE: tl.constexpr,
):
    """One tile of the adjoint, zero below the diagonal."""
    sample = tl.program_id(0).to(tl.int64)
    rows, columns = span(tl.program_id(1) * TILE, TILE), span(tl.program_id(2) * TILE, TILE)
    low, high = rows[:, None], columns[None, :]
    places = in_triangle(low, high, n) * stride
    read = (low <= high) & (high < n)
    tile = tl.load(v_pointer + sample * n_stride + places, mask=read, other=0.0)
    if ISOMETRIC:
        tile = tl.where(low == high, tile, 1.4142135623730951 * tile)
    put(G_pointer + sample * n * n, tile, rows, columns, n, 1, n, n)
