r"""The covariance of features and its derivative, one program for each tile of the result.

.. math:: A = (1 - s) \Sigma + \bigl(s\, \tfrac{\operatorname{tr} \Sigma}{C} + \varepsilon\bigr) I,
          \quad \Sigma = \tfrac1M z z^\top, \quad z = x - \mu, \qquad
          g_x = \tfrac1M \bigl((1 - s)(G + G^\top) + \tfrac{2s}{C} \operatorname{tr} G\bigr) z

Read: :math:`x` twice, for the means and for the products. Of :math:`A` the tiles on and above the
diagonal are computed and written twice, so that it is symmetric to the bit.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.tile import block, gradient_trace, put, span, total
from covlayers.functional._iterations.tile import dot


@triton.jit
def means(
    pointer,
    rows,
    c_stride,
    m_stride,
    C,
    M,
    CENTER: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    RUN: tl.constexpr = 1,
):
    """Of the channels over their positions; zeros without ``CENTER``."""
    sums = tl.zeros((TILE,), tl.float32)
    if CENTER:
        partial = tl.zeros((TILE, 2 * BLOCK), tl.float32)
        for start in range(0, M, 2 * BLOCK):
            columns = span(start, 2 * BLOCK)
            partial += block(pointer, rows, columns, c_stride, m_stride, C, M, RUN)
        sums = tl.sum(partial, 1)
    return sums / M


@triton.jit
def less_mean(pointer, rows, columns, mean, c_stride, m_stride, C, M, RUN: tl.constexpr = 1):
    """Features less the means of their channels, zero outside."""
    tile = block(pointer, rows, columns, c_stride, m_stride, C, M, RUN)
    return tl.where(columns[None, :] < M, tile - mean[:, None], 0.0)


@triton.jit
def covariance_of_features(
    x_pointer,
    A_pointer,
    mean_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    M,
    eps,
    shrinkage,
    CENTER: tl.constexpr,
    SHRINK: tl.constexpr,
    RUN: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile and its mirror image; on the diagonal the means as well."""
    sample = tl.program_id(0).to(tl.int64)
    i, j = tl.program_id(1), tl.program_id(2)
    if j < i:
        return
    x_pointer += sample * n_stride
    A_pointer += sample * C * C
    rows, others = span(i * TILE, TILE), span(j * TILE, TILE)
    mean = means(x_pointer, rows, c_stride, m_stride, C, M, CENTER, TILE, BLOCK, RUN)
    other_mean = means(x_pointer, others, c_stride, m_stride, C, M, CENTER, TILE, BLOCK, RUN)
    tile = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, M, BLOCK):
        columns = span(start, BLOCK)
        z = less_mean(x_pointer, rows, columns, mean, c_stride, m_stride, C, M, RUN)
        other = less_mean(x_pointer, others, columns, other_mean, c_stride, m_stride, C, M, RUN)
        tile = dot(z, tl.trans(other), PRECISION, tile)
    tile = tile / M
    if SHRINK:
        tile = (1 - shrinkage) * tile
    if i == j:
        tl.store(mean_pointer + sample * C + rows, mean, mask=rows < C)
        tile = (tile + tl.trans(tile)) / 2
        added = eps
        if SHRINK:
            squares = tl.zeros((TILE, BLOCK), tl.float32)
            for first in range(0, C, TILE):
                some = span(first, TILE)
                own = means(x_pointer, some, c_stride, m_stride, C, M, CENTER, TILE, BLOCK, RUN)
                for start in range(0, M, BLOCK):
                    columns = span(start, BLOCK)
                    z = less_mean(x_pointer, some, columns, own, c_stride, m_stride, C, M, RUN)
                    squares += z * z / M
            added += shrinkage * total(squares) / C
        tile = tl.where(rows[:, None] == others[None, :], tile + added, tile)
    put(A_pointer, tile, rows, others, C, 1, C, C)
    if i != j:
        put(A_pointer, tl.trans(tile), others, rows, C, 1, C, C)


@triton.jit
def gradient_of_features(
    G_pointer,
    x_pointer,
    mean_pointer,
    g_pointer,
    G_n_stride,
    G_row_stride,
    G_column_stride,
    n_stride,
    c_stride,
    m_stride,
    g_n_stride,
    g_c_stride,
    g_m_stride,
    C,
    M,
    shrinkage,
    SHRINK: tl.constexpr,
    RUN: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of the gradient for ``x``."""
    sample = tl.program_id(0).to(tl.int64)
    G_pointer += sample * G_n_stride
    x_pointer += sample * n_stride
    mean_pointer += sample * C
    rows = span(tl.program_id(1) * TILE, TILE)
    columns = span(tl.program_id(2) * TILE, TILE)
    transposed = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, C, BLOCK):
        k = span(start, BLOCK)
        # The sum lies in registers as its second term: by k, as the right factor is read.
        G = block(G_pointer, k, rows, G_row_stride, G_column_stride, C, C)
        G += block(G_pointer, k, rows, G_column_stride, G_row_stride, C, C)
        mean = tl.load(mean_pointer + k, mask=k < C, other=0.0)
        z = less_mean(x_pointer, k, columns, mean, c_stride, m_stride, C, M, RUN)
        transposed = dot(tl.trans(z), G, PRECISION, transposed)
    tile = tl.trans(transposed)
    if SHRINK:
        trace = gradient_trace(G_pointer, G_row_stride, G_column_stride, C, False, BLOCK)
        mean = tl.load(mean_pointer + rows, mask=rows < C, other=0.0)
        z = less_mean(x_pointer, rows, columns, mean, c_stride, m_stride, C, M, RUN)
        tile = (1 - shrinkage) * tile + 2 * shrinkage * trace / C * z
    g_pointer += sample * g_n_stride
    put(g_pointer, tile / M, rows, columns, g_c_stride, g_m_stride, C, M, RUN)
