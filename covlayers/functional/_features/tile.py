"""What the kernels for features do with a tile: rows of one sample, centred, and a triangle."""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import dot


@triton.jit
def span(start, SIZE: tl.constexpr):
    """``SIZE`` numbers from ``start`` on."""
    return start + tl.arange(0, SIZE)


@triton.jit
def block(pointer, rows, columns, row_stride, column_stride, height, width, RUN: tl.constexpr = 1):
    """Entries of a matrix ``(height, width)``, zero outside of it.

    ``RUN`` columns, from a multiple of it on, are neighbours in memory, and all there or none.
    """
    places, inside = _places(rows, columns, row_stride, column_stride, height, width, RUN)
    return tl.load(pointer + places, mask=inside, other=0.0)


@triton.jit
def put(
    pointer, tile, rows, columns, row_stride, column_stride, height, width, RUN: tl.constexpr = 1
):
    """Write what :func:`block` would read."""
    places, inside = _places(rows, columns, row_stride, column_stride, height, width, RUN)
    tl.store(pointer + places, tile, mask=inside)


@triton.jit
def _places(rows, columns, row_stride, column_stride, height, width, RUN: tl.constexpr):
    places = rows[:, None].to(tl.int64) * row_stride + columns[None, :].to(tl.int64) * column_stride
    known = columns < width
    if RUN > 1:
        places = tl.max_contiguous(tl.multiple_of(places, (1, RUN)), (1, RUN))
        known = tl.max_constancy(known, RUN)
    return places, (rows[:, None] < height) & known[None, :]


@triton.jit
def centred(pointer, rows, c_stride, m_stride, C, M, CENTER: tl.constexpr, SIZE: tl.constexpr):
    """Channels at all their positions, at most ``SIZE``, less their means."""
    columns = tl.arange(0, SIZE)
    tile = block(pointer, rows, columns, c_stride, m_stride, C, M)
    if CENTER:
        mean = tl.sum(tile, 1) / M
        tile = tl.where(columns[None, :] < M, tile - mean[:, None], 0.0)
    return tile


@triton.jit
def gram(
    pointer,
    c_stride,
    m_stride,
    C,
    M,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``K``: the products of the positions over all channels, divided by ``M``."""
    K = tl.zeros((SIZE, SIZE), tl.float32)
    for start in range(0, C, ROWS):
        z = centred(pointer, span(start, ROWS), c_stride, m_stride, C, M, CENTER, SIZE)
        K += dot(tl.trans(z), z, PRECISION)
    return (K + tl.trans(K)) / (2 * M)


@triton.jit
def inner(
    pointer,
    P_pointer,
    c_stride,
    m_stride,
    C,
    M,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The symmetric products of the features with contiguous ``P (C, M)``, divided by ``M``."""
    V = tl.zeros((SIZE, SIZE), tl.float32)
    for start in range(0, C, ROWS):
        rows = span(start, ROWS)
        z = centred(pointer, rows, c_stride, m_stride, C, M, CENTER, SIZE)
        P = block(P_pointer, rows, tl.arange(0, SIZE), M, 1, C, M)
        V += dot(tl.trans(z), P, PRECISION)
    return (V + tl.trans(V)) / (2 * M)


@triton.jit
def trace(tile, SIZE: tl.constexpr):
    """The sum of the diagonal."""
    diagonal = tl.arange(0, SIZE)[:, None] == tl.arange(0, SIZE)[None, :]
    return tl.sum(tl.sum(tl.where(diagonal, tile, 0.0), 1), 0)


@triton.jit
def filled(K, n, CENTER: tl.constexpr, SIZE: tl.constexpr):
    """``K``, with a mean eigenvalue in the direction of the ones, which centred features lack."""
    if CENTER:
        k = tl.arange(0, SIZE)
        inside = (k[:, None] < n) & (k[None, :] < n)
        K = tl.where(inside, K + trace(K, SIZE) / n / n, K)
    return K


@triton.jit
def total(tile):
    """The sum of all entries."""
    return tl.sum(tl.sum(tile, 1), 0)


@triton.jit
def square_sum(tile):
    """The squared Frobenius norm, a number."""
    return total(tile * tile)


@triton.jit
def peak(tile):
    """The largest absolute entry, a number."""
    return tl.max(tl.max(tl.abs(tile), 1), 0)


@triton.jit
def in_triangle(low, high, n):
    """Where entry ``(low, high)``, ``low <= high``, stands in the upper triangle."""
    low = low.to(tl.int64)
    return low * n - low * (low + 1) // 2 + high


@triton.jit
def symmetric_block(
    pointer,
    rows,
    columns,
    row_stride,
    column_stride,
    n,
    TRIANGLE: tl.constexpr,
    ISOMETRIC: tl.constexpr,
):
    """Entries of the symmetric gradient of a matrix ``(n, n)``, from the one for its triangle."""
    if TRIANGLE:
        low = tl.minimum(rows[:, None], columns[None, :])
        high = tl.maximum(rows[:, None], columns[None, :])
        places = in_triangle(low, high, n) * column_stride
        tile = tl.load(pointer + places, mask=high < n, other=0.0)
        share = 0.7071067811865476 if ISOMETRIC else 0.5
        return tl.where(low == high, tile, share * tile)
    tile = block(pointer, rows, columns, row_stride, column_stride, n, n)
    mirrored = block(pointer, rows, columns, column_stride, row_stride, n, n)
    return (tile + mirrored) / 2


@triton.jit
def gradient_trace(
    pointer, row_stride, column_stride, n, TRIANGLE: tl.constexpr, SIZE: tl.constexpr
):
    """The trace of such a gradient."""
    sums = tl.zeros((SIZE,), tl.float32)
    for start in range(0, n, SIZE):
        k = span(start, SIZE).to(tl.int64)
        if TRIANGLE:
            places = in_triangle(k, k, n) * column_stride
        else:
            places = k * (row_stride + column_stride)
        sums += tl.load(pointer + places, mask=k < n, other=0.0)
    return tl.sum(sums, 0)
