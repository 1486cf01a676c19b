r"""Products of a smaller side with the features, one program for each tile of the result.

With centred features :math:`z`, :math:`C \times M`, and matrices :math:`M \times M`,

.. math:: Y = y I + \tfrac1M z\, T z^\top, \qquad P = G z, \qquad
          g_x = \tfrac2M (P L + z R).
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.covariance_triton import less_mean, means
from covlayers.functional._features.tile import block, centred, put, span, symmetric_block
from covlayers.functional._features.triangle_triton import put_triangle
from covlayers.functional._iterations.tile import dot


@triton.jit
def channels_from_positions(
    x_pointer,
    T_pointer,
    y_pointer,
    Y_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    M,
    CENTER: tl.constexpr,
    TRIANGLE: tl.constexpr,
    ISOMETRIC: tl.constexpr,
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of ``Y`` on or above the diagonal, to the triangle or to both its places."""
    sample = tl.program_id(0).to(tl.int64)
    i, j = tl.program_id(1), tl.program_id(2)
    if j < i:
        return
    x_pointer += sample * n_stride
    rows, others = span(i * TILE, TILE), span(j * TILE, TILE)
    columns = tl.arange(0, SIZE)
    T_pointer += sample * M * M
    mean = means(x_pointer, rows, c_stride, m_stride, C, M, CENTER, TILE, BLOCK)
    zT = tl.zeros((TILE, SIZE), tl.float32)
    for start in range(0, M, BLOCK):
        k = span(start, BLOCK)
        z = less_mean(x_pointer, rows, k, mean, c_stride, m_stride, C, M)
        zT += dot(z, block(T_pointer, k, columns, M, 1, M, M), PRECISION)
    other = centred(x_pointer, others, c_stride, m_stride, C, M, CENTER, SIZE)
    tile = dot(zT, tl.trans(other), PRECISION) / M
    y = tl.load(y_pointer + sample)
    tile = tl.where(rows[:, None] == others[None, :], tile + y, tile)
    if TRIANGLE:
        put_triangle(Y_pointer + sample * (C * (C + 1) // 2), tile, rows, others, C, ISOMETRIC)
    else:
        Y_pointer += sample * C * C
        if i == j:
            tile = (tile + tl.trans(tile)) / 2
        put(Y_pointer, tile, rows, others, C, 1, C, C)
        if i != j:
            put(Y_pointer, tl.trans(tile), others, rows, C, 1, C, C)


@triton.jit
def gradient_times_features(
    G_pointer,
    x_pointer,
    P_pointer,
    G_n_stride,
    G_row_stride,
    G_column_stride,
    n_stride,
    c_stride,
    m_stride,
    C,
    M,
    CENTER: tl.constexpr,
    TRIANGLE: tl.constexpr,
    ISOMETRIC: tl.constexpr,
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Some rows of ``P``, contiguous."""
    sample = tl.program_id(0).to(tl.int64)
    G_pointer += sample * G_n_stride
    x_pointer += sample * n_stride
    rows = span(tl.program_id(1) * TILE, TILE)
    P = tl.zeros((TILE, SIZE), tl.float32)
    for start in range(0, C, BLOCK):
        k = span(start, BLOCK)
        G = symmetric_block(
            G_pointer, rows, k, G_row_stride, G_column_stride, C, TRIANGLE, ISOMETRIC
        )
        z = centred(x_pointer, k, c_stride, m_stride, C, M, CENTER, SIZE)
        P += dot(G, z, PRECISION)
    put(P_pointer + sample * C * M, P, rows, tl.arange(0, SIZE), M, 1, C, M)


@triton.jit
def gradient_from_positions(
    x_pointer,
    P_pointer,
    L_pointer,
    R_pointer,
    g_pointer,
    n_stride,
    c_stride,
    m_stride,
    g_n_stride,
    g_c_stride,
    g_m_stride,
    C,
    M,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Some rows of the gradient for ``x``."""
    sample = tl.program_id(0).to(tl.int64)
    rows = span(tl.program_id(1) * TILE, TILE)
    columns = tl.arange(0, SIZE)
    x_pointer += sample * n_stride
    P_pointer += sample * C * M
    L_pointer += sample * M * M
    R_pointer += sample * M * M
    mean = means(x_pointer, rows, c_stride, m_stride, C, M, CENTER, TILE, BLOCK)
    g = tl.zeros((TILE, SIZE), tl.float32)
    for start in range(0, M, BLOCK):
        k = span(start, BLOCK)
        z = less_mean(x_pointer, rows, k, mean, c_stride, m_stride, C, M)
        g += dot(z, block(R_pointer, k, columns, M, 1, M, M), PRECISION)
        P = block(P_pointer, rows, k, M, 1, C, M)
        g += dot(P, block(L_pointer, k, columns, M, 1, M, M), PRECISION)
    if CENTER:  # the sum over positions is zero but for rounding
        g = g - (tl.sum(g, 1) / M)[:, None]
    put(g_pointer + sample * g_n_stride, 2 * g / M, rows, columns, g_c_stride, g_m_stride, C, M)
