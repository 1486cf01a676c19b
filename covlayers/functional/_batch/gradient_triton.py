r"""The gradient of whitening: sums over the positions, then the gradient of the features.

.. math:: \bar g = \sum g, \qquad G_V = \sum g (x - \mu)^\top, \qquad
          g_\gamma = \operatorname{diag}(G_V W^\top), \qquad G_W = \operatorname{diag}(\gamma)\, G_V

in one pass and a second kernel that adds up its parts; when the gradient :math:`H` of the
covariance, as much as twice, is known from :math:`G_W`,

.. math:: g_x = W^\top \operatorname{diag}(\gamma)\, (g - \alpha \bar g) + \alpha H (x - \mu),
          \qquad \alpha = 1/n
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._batch.features_triton import (
    load,
    load_centered,
    load_channels,
    pointers,
)


@triton.jit
def sum_gradient_parts(
    g_pointer,
    x_pointer,
    mean_pointer,
    total_pointer,
    product_pointer,
    n,
    M,
    g_strides,
    strides,
    c,
    tiles,
    BLOCKS: tl.constexpr,
    SIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The sum of ``g`` and one block of ``G_V``, of one part and one group."""
    part, group = tl.program_id(0), tl.program_id(2)
    groups = tl.num_programs(2)
    i, j = tl.program_id(1) // BLOCKS, tl.program_id(1) % BLOCKS
    rows, columns = i * SIDE + tl.arange(0, SIDE), j * SIDE + tl.arange(0, SIDE)
    known_rows, known_columns = rows < c, columns < c
    positions = part * tiles * WIDTH + tl.arange(0, WIDTH)
    mean = load_channels(mean_pointer, group * c + columns, known_columns)
    total = tl.zeros([SIDE], tl.float32)
    product = tl.zeros([SIDE, SIDE], tl.float32)
    for _ in range(tiles):
        inside = known_rows[:, None] & (positions < n)[None, :]
        g = load(g_pointer, group * c + rows, positions, inside, M, g_strides)
        beside = known_columns[:, None] & (positions < n)[None, :]
        z = load_centered(x_pointer, group * c + columns, positions, beside, M, strides, mean)
        total += tl.sum(g, 1)
        product += tl.dot(g, tl.trans(z), input_precision=PRECISION)
        positions += WIDTH
    place = (part * groups + group).to(tl.int64) * c
    tl.store(total_pointer + place + rows, total, mask=known_rows & (j == 0))
    entries = place * c + rows[:, None] * c + columns[None, :]
    known = known_rows[:, None] & known_columns[None, :]
    tl.store(product_pointer + entries, product, mask=known)


@triton.jit
def add_gradient_parts(
    part_total_pointer,
    part_product_pointer,
    W_pointer,
    weight_pointer,
    total_pointer,
    gweight_pointer,
    gW_pointer,
    parts,
    c,
    SYMMETRIC: tl.constexpr,
    ROWS: tl.constexpr,
    SIDE: tl.constexpr,
    TAKEN: tl.constexpr,
):
    """Some rows of ``G_W``, or of it and its transpose, and their channels of the sums."""
    group, groups = tl.program_id(1), tl.num_programs(1)
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, SIDE)
    known_rows = rows < c
    known = known_rows[:, None] & (columns < c)[None, :]
    entries = rows[:, None] * c + columns[None, :]
    total = tl.zeros([ROWS], tl.float32)
    product = tl.zeros([ROWS, SIDE], tl.float32)
    transposed = product
    for index in range(0, parts, TAKEN):
        part = index + tl.arange(0, TAKEN)
        place = (part.to(tl.int64) * groups + group) * c
        beside = (part < parts)[:, None] & known_rows[None, :]
        own = tl.load(part_total_pointer + place[:, None] + rows[None, :], mask=beside, other=0.0)
        total += tl.sum(own, 0)
        inside = (part < parts)[:, None, None] & known[None, :, :]
        start = part_product_pointer + (place * c)[:, None, None]
        product += tl.sum(tl.load(start + entries[None, :, :], mask=inside, other=0.0), 0)
        if SYMMETRIC:
            across = (columns[None, :] * c + rows[:, None])[None, :, :]
            transposed += tl.sum(tl.load(start + across, mask=inside, other=0.0), 0)
    channels = group * c + rows
    tl.store(total_pointer + channels, total, mask=known_rows)
    entries += group.to(tl.int64) * c * c
    if weight_pointer is not None:
        W = tl.load(W_pointer + entries, mask=known, other=0.0)
        tl.store(gweight_pointer + channels, tl.sum(product * W, 1), mask=known_rows)
        product *= load_channels(weight_pointer, channels, known_rows)[:, None]
        transposed *= load_channels(weight_pointer, group * c + columns, columns < c)[None, :]
    if SYMMETRIC:
        product += transposed
    tl.store(gW_pointer + entries, product, mask=known)


@triton.jit
def features_gradient(
    g_pointer,
    x_pointer,
    W_pointer,
    weight_pointer,
    mean_pointer,
    total_pointer,
    H_pointer,
    gx_pointer,
    n,
    M,
    g_strides,
    strides,
    gx_strides,
    c,
    tiles,
    share,
    SIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Some positions of some channels of one group."""
    tile, group = tl.program_id(0) % tiles, tl.program_id(0) // tiles
    rows = tl.program_id(1) * SIDE + tl.arange(0, SIDE)
    positions = tile * WIDTH + tl.arange(0, WIDTH)
    gx = tl.zeros([SIDE, WIDTH], tl.float32)
    corner = group.to(tl.int64) * c * c
    for start in range(0, c, SIDE):
        inner = start + tl.arange(0, SIDE)
        channels = group * c + inner
        known = (rows < c)[:, None] & (inner < c)[None, :]
        inside = (inner < c)[:, None] & (positions < n)[None, :]
        transposed = corner + inner[None, :] * c + rows[:, None]
        W = tl.load(W_pointer + transposed, mask=known, other=0.0)
        total = share * load_channels(total_pointer, channels, inner < c)
        g = load_centered(g_pointer, channels, positions, inside, M, g_strides, total)
        if weight_pointer is not None:
            g *= load_channels(weight_pointer, channels, inner < c)[:, None]
        gx += tl.dot(W, g, input_precision=PRECISION)
        H = tl.load(H_pointer + corner + rows[:, None] * c + inner[None, :], mask=known, other=0.0)
        mean = load_channels(mean_pointer, channels, inner < c)
        z = load_centered(x_pointer, channels, positions, inside, M, strides, mean)
        gx += tl.dot(share * H, z, input_precision=PRECISION)
    inside = (rows < c)[:, None] & (positions < n)[None, :]
    start = pointers(gx_pointer, group * c + rows, positions, M, gx_strides)
    tl.store(start, gx, mask=inside)
