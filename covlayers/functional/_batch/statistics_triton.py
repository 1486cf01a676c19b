r"""Mean and covariance of each group of channels, in one pass over the features.

Part :math:`p` of the positions is summed about a shift :math:`s_p` of its own, the mean of its
first tile, of :math:`b` positions:

.. math:: d_p = \tfrac1{n_p} \sum (x - s_p), \qquad
          S_p = \sum (x - s_p)(x - s_p)^\top - n_p\, d_p d_p^\top

The difference cancels little, whatever the mean: the tile alone leaves at least about
:math:`b\, d_p^2` in :math:`S_p`, so what is taken away is at most :math:`n_p / b` times that, which
is the number of tiles in a part. A second kernel adds up the parts, about the shift of the first:

.. math:: \mu - s_0 = \tfrac1n \sum_p n_p\, e_p, \quad e_p = (s_p - s_0) + d_p, \qquad
          n \Sigma = \sum_p S_p + n_p (e_p - \mu + s_0)(e_p - \mu + s_0)^\top
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._batch.features_triton import (
    load,
    load_centered,
    load_channels,
    lower_pair,
)


@triton.jit
def sum_parts(
    x_pointer,
    mean_pointer,
    scatter_pointer,
    n,
    M,
    strides,
    c,
    tiles,
    BLOCKS: tl.constexpr,
    SIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``s_p``, ``d_p`` and one block of ``S_p``, of ``BLOCKS`` to a side, of one part and group."""
    part, group = tl.program_id(0), tl.program_id(2)
    groups = tl.num_programs(2)
    i, j = lower_pair(tl.program_id(1))
    rows, columns = i * SIDE + tl.arange(0, SIDE), j * SIDE + tl.arange(0, SIDE)
    known_rows, known_columns = rows < c, columns < c
    start = part * tiles * WIDTH
    positions = start + tl.arange(0, WIDTH)
    inside = known_rows[:, None] & (positions < n)[None, :]
    first = load(x_pointer, group * c + rows, positions, inside, M, strides)
    shift = tl.sum(first, 1) / tl.minimum(n - start, WIDTH)
    other_shift = shift
    if BLOCKS > 1:
        beside = known_columns[:, None] & (positions < n)[None, :]
        first = load(x_pointer, group * c + columns, positions, beside, M, strides)
        other_shift = tl.sum(first, 1) / tl.minimum(n - start, WIDTH)
    total = tl.zeros([SIDE], tl.float32)
    other_total = total
    scatter = tl.zeros([SIDE, SIDE], tl.float32)
    for _ in range(tiles):
        inside = known_rows[:, None] & (positions < n)[None, :]
        z = load_centered(x_pointer, group * c + rows, positions, inside, M, strides, shift)
        total += tl.sum(z, 1)
        other = z
        if BLOCKS > 1:
            beside = known_columns[:, None] & (positions < n)[None, :]
            other = load_centered(
                x_pointer, group * c + columns, positions, beside, M, strides, other_shift
            )
            other_total += tl.sum(other, 1)
        scatter += tl.dot(z, tl.trans(other), input_precision=PRECISION)
        positions += WIDTH
    if BLOCKS == 1:
        other_total = total
    count = tl.minimum(n - start, tiles * WIDTH)
    scatter -= total[:, None] * (other_total / count)[None, :]
    place = (part * groups + group).to(tl.int64) * c
    entries = mean_pointer + place + rows
    tl.store(entries, shift, mask=known_rows & (i == j))
    beyond = tl.num_programs(0) * groups * c
    tl.store(entries + beyond, total / count, mask=known_rows & (i == j))
    known = known_rows[:, None] & known_columns[None, :]
    corner = scatter_pointer + place * c
    tl.store(corner + rows[:, None] * c + columns[None, :], scatter, mask=known)
    if BLOCKS > 1:
        tl.store(corner + rows[:, None] + columns[None, :] * c, scatter, mask=known & (i > j))


@triton.jit
def add_parts(
    part_mean_pointer,
    part_scatter_pointer,
    mean_pointer,
    cov_pointer,
    regularized_pointer,
    n,
    parts,
    each,
    c,
    eps,
    shrinkage,
    ROWS: tl.constexpr,
    SIDE: tl.constexpr,
    TAKEN: tl.constexpr,
):
    """Some rows of the covariance of one group, of parts of ``each`` positions."""
    group, groups = tl.program_id(1), tl.num_programs(1)
    rows, columns = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, SIDE)
    known_rows, known_columns = rows < c, columns < c
    mean = _mean(part_mean_pointer, columns, known_columns, n, parts, each, group, c, TAKEN)
    mean_row = _mean(part_mean_pointer, rows, known_rows, n, parts, each, group, c, TAKEN)
    first = load_channels(part_mean_pointer, group * c + rows, known_rows)
    tl.store(mean_pointer + group * c + rows, first + mean_row, mask=known_rows)
    scatter = tl.zeros([ROWS, SIDE], tl.float32)
    trace = 0.0
    entries = rows[:, None] * c + columns[None, :]
    known = known_rows[:, None] & known_columns[None, :]
    for index in range(0, parts, TAKEN):
        part = index + tl.arange(0, TAKEN)
        count = _count(part, n, parts, each)
        e = _means(part_mean_pointer, part, columns, known_columns, parts, group, c)
        e_row = _means(part_mean_pointer, part, rows, known_rows, parts, group, c)
        about = count * (e - mean[None, :])
        corner = part_scatter_pointer + (part.to(tl.int64) * groups + group) * c * c
        inside = (part < parts)[:, None, None] & known[None, :, :]
        own = tl.load(corner[:, None, None] + entries[None, :, :], mask=inside, other=0.0)
        scatter += tl.sum(own + (e_row - mean_row[None, :])[:, :, None] * about[:, None, :], 0)
        if shrinkage is not None:
            beside = (part < parts)[:, None] & known_columns[None, :]
            own = tl.load(corner[:, None] + (columns * (c + 1))[None, :], mask=beside, other=0.0)
            trace += tl.sum(own + about * (e - mean[None, :]))
    cov = scatter / n
    place = group.to(tl.int64) * c * c + entries
    tl.store(cov_pointer + place, cov, mask=known)
    added = eps
    if shrinkage is not None:
        cov = (1 - shrinkage) * cov
        added += shrinkage * trace / n / c
    cov = tl.where(rows[:, None] == columns[None, :], cov + added, cov)
    tl.store(regularized_pointer + place, cov, mask=known)


@triton.jit
def _mean(pointer, channels, known, n, parts, each, group, c, TAKEN: tl.constexpr):
    """``mu - s_0`` of some channels."""
    total = tl.zeros([channels.shape[0]], tl.float32)
    for index in range(0, parts, TAKEN):
        part = index + tl.arange(0, TAKEN)
        count = _count(part, n, parts, each)
        total += tl.sum(count * _means(pointer, part, channels, known, parts, group, c), 0)
    return total / n


@triton.jit
def _means(pointer, part, channels, known, parts, group, c):
    """``e_p`` of some parts and channels."""
    C = tl.num_programs(1) * c
    inside = (part < parts)[:, None] & known[None, :]
    entries = pointer + part[:, None] * C + group * c + channels[None, :]
    first = load_channels(pointer, group * c + channels, known)
    shift = tl.load(entries, mask=inside, other=0.0) - first[None, :]
    return shift + tl.load(entries + parts * C, mask=inside, other=0.0)


@triton.jit
def _count(part, n, parts, each):
    """The number of positions of some parts, as a column; zero beyond the last."""
    count = tl.where(part < parts, tl.minimum(each, n - part * each), 0)
    return count.to(tl.float32)[:, None]
