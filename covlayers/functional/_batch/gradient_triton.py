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
    within,
)
from covlayers.functional._iterations.tile import dot


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
    RUN: tl.constexpr,
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
    stop = tl.minimum(n, (part + 1) * tiles * WIDTH)
    positions = part * tiles * WIDTH + tl.arange(0, WIDTH)
    mean = load_channels(mean_pointer, group * c + columns, known_columns)
    inside = within(known_rows, positions, stop, RUN)
    g = load(g_pointer, group * c + rows, positions, inside, M, g_strides, RUN)
    beside = within(known_columns, positions, stop, RUN)
    x = load(x_pointer, group * c + columns, positions, beside, M, strides, RUN)
    totals = tl.zeros([SIDE, WIDTH], tl.float32)
    product = tl.zeros([SIDE, SIDE], tl.float32)
    for _ in range(tiles):
        own = g
        z = tl.where(beside, x - mean[:, None], 0.0)
        totals += own
        positions += WIDTH
        inside = within(known_rows, positions, stop, RUN)
        g = load(g_pointer, group * c + rows, positions, inside, M, g_strides, RUN)
        beside = within(known_columns, positions, stop, RUN)
        x = load(x_pointer, group * c + columns, positions, beside, M, strides, RUN)
        product = dot(own, tl.trans(z), PRECISION, product)
    place = (part * groups + group).to(tl.int64) * c
    tl.store(total_pointer + place + rows, tl.sum(totals, 1), mask=known_rows & (j == 0))
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
    known = (columns < c)[:, None] & known_rows[None, :]
    entries = rows[None, :] * c + columns[:, None]
    across = columns[:, None] * c + rows[None, :]
    totals = tl.zeros([ROWS, TAKEN], tl.float32)
    products = tl.zeros([SIDE, ROWS, TAKEN], tl.float32)
    transposed = products
    for index in range(0, parts, TAKEN):
        part = index + tl.arange(0, TAKEN)
        place = (part.to(tl.int64) * groups + group) * c
        beside = known_rows[:, None] & (part < parts)[None, :]
        start = part_total_pointer + place[None, :]
        totals += tl.load(start + rows[:, None], mask=beside, other=0.0)
        inside = known[:, :, None] & (part < parts)[None, None, :]
        start = part_product_pointer + (place * c)[None, None, :]
        products += tl.load(start + entries[:, :, None], mask=inside, other=0.0)
        if SYMMETRIC:
            transposed += tl.load(start + across[:, :, None], mask=inside, other=0.0)
    product = tl.sum(products, 2)
    channels = group * c + rows
    tl.store(total_pointer + channels, tl.sum(totals, 1), mask=known_rows)
    entries += group.to(tl.int64) * c * c
    if weight_pointer is not None:
        W = tl.load(W_pointer + entries, mask=known, other=0.0)
        tl.store(gweight_pointer + channels, tl.sum(product * W, 0), mask=known_rows)
        product *= load_channels(weight_pointer, channels, known_rows)[None, :]
    if SYMMETRIC:
        other = tl.sum(transposed, 2)
        if weight_pointer is not None:
            other *= load_channels(weight_pointer, group * c + columns, columns < c)[:, None]
        product += other
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
    share,
    RUN: tl.constexpr,
    SIDE: tl.constexpr,
    DEPTH: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Some positions of some channels of one group."""
    group = tl.program_id(2)
    columns = tl.program_id(1) * SIDE + tl.arange(0, SIDE)
    known_columns = columns < c
    positions = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    corner = group.to(tl.int64) * c * c
    gx = tl.zeros([WIDTH, SIDE], tl.float32)
    for start in range(0, c, DEPTH):
        inner = start + tl.arange(0, DEPTH)
        known = inner < c
        channels = group * c + inner
        both = known[:, None] & known_columns[None, :]
        entries = corner + inner[:, None] * c + columns[None, :]
        W = tl.load(W_pointer + entries, mask=both, other=0.0)
        entries = corner + columns[None, :] * c + inner[:, None]
        H = tl.load(H_pointer + entries, mask=both, other=0.0)
        inside = within(known, positions, n, RUN)
        total = share * load_channels(total_pointer, channels, known)
        g = load_centered(g_pointer, channels, positions, inside, M, g_strides, total, RUN)
        mean = load_channels(mean_pointer, channels, known)
        z = load_centered(x_pointer, channels, positions, inside, M, strides, mean, RUN)
        if weight_pointer is not None:
            g *= load_channels(weight_pointer, channels, known)[:, None]
        gx = dot(tl.trans(in_turns(g, z)), in_turns(W, share * H), PRECISION, gx)
    inside = within(known_columns, positions, n, RUN)
    places = pointers(gx_pointer, group * c + columns, positions, M, gx_strides, RUN)
    tl.store(places, tl.trans(gx), mask=inside)


@triton.jit
def in_turns(first, second):
    """The rows of two tiles, by turns, so that one product is the sum of two."""
    both = tl.permute(tl.join(first, second), (0, 2, 1))
    return tl.reshape(both, [2 * first.shape[0], first.shape[1]])
