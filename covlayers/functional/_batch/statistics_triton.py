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
    load_channels,
    lower_pair,
    within,
)
from covlayers.functional._iterations.tile import dot


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
    RUN: tl.constexpr,
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
    stop = tl.minimum(n, start + tiles * WIDTH)
    first = tl.minimum(stop - start, WIDTH)
    positions = start + tl.arange(0, WIDTH)
    inside = within(known_rows, positions, stop, RUN)
    tile = load(x_pointer, group * c + rows, positions, inside, M, strides, RUN)
    shift = tl.sum(tile, 1) / first
    if BLOCKS > 1:
        beside = within(known_columns, positions, stop, RUN)
        other_tile = load(x_pointer, group * c + columns, positions, beside, M, strides, RUN)
        other_shift = tl.sum(other_tile, 1) / first
    totals = tl.zeros([SIDE, WIDTH], tl.float32)
    other_totals = totals
    scatter = tl.zeros([SIDE, SIDE], tl.float32)
    for _ in range(tiles):
        z = tl.where(inside, tile - shift[:, None], 0.0)
        totals += z
        other = z
        positions += WIDTH
        inside = within(known_rows, positions, stop, RUN)
        tile = load(x_pointer, group * c + rows, positions, inside, M, strides, RUN)
        if BLOCKS > 1:
            other = tl.where(beside, other_tile - other_shift[:, None], 0.0)
            other_totals += other
            beside = within(known_columns, positions, stop, RUN)
            other_tile = load(x_pointer, group * c + columns, positions, beside, M, strides, RUN)
        scatter = dot(z, tl.trans(other), PRECISION, scatter)
    total = tl.sum(totals, 1)
    other_total = total if BLOCKS == 1 else tl.sum(other_totals, 1)
    count = stop - start
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
    COLUMNS: tl.constexpr,
    TAKEN: tl.constexpr,
):
    """A block of the covariance of one group, of parts of ``each`` positions."""
    group = tl.program_id(1)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    known_rows, known_columns = rows < c, columns < c
    of_all = part_mean_pointer, n, parts, each, group, c
    mean = _mean(of_all, columns, known_columns, TAKEN)
    mean_row = _mean(of_all, rows, known_rows, TAKEN)
    first = load_channels(part_mean_pointer, group * c + rows, known_rows)
    once = known_rows & (tl.program_id(2) == 0)
    tl.store(mean_pointer + group * c + rows, first + mean_row, mask=once)
    scatters = tl.zeros([TAKEN, ROWS, COLUMNS], tl.float32)
    entries = rows[:, None] * c + columns[None, :]
    known = known_rows[:, None] & known_columns[None, :]
    for index in range(0, parts, TAKEN):
        part = index + tl.arange(0, TAKEN)
        count = _count(of_all, part)
        e = _means(of_all, part, columns, known_columns)
        e_row = _means(of_all, part, rows, known_rows)
        about = count * (e - mean[None, :])
        corner = part_scatter_pointer + _corner(of_all, part)
        inside = (part < parts)[:, None, None] & known[None, :, :]
        own = tl.load(corner[:, None, None] + entries[None, :, :], mask=inside, other=0.0)
        scatters += own + (e_row - mean_row[None, :])[:, :, None] * about[:, None, :]
    cov = tl.sum(scatters, 0) / n
    place = group.to(tl.int64) * c * c + entries
    tl.store(cov_pointer + place, cov, mask=known)
    added = eps
    if shrinkage is not None:
        cov = (1 - shrinkage) * cov
        added += shrinkage * _trace(of_all, part_scatter_pointer, COLUMNS, TAKEN) / n / c
    cov = tl.where(rows[:, None] == columns[None, :], cov + added, cov)
    tl.store(regularized_pointer + place, cov, mask=known)


@triton.jit
def _trace(of_all, scatter_pointer, SIDE: tl.constexpr, TAKEN: tl.constexpr):
    """Of ``n Sigma``."""
    _, _, parts, _, _, c = of_all
    trace = 0.0
    for start in range(0, c, SIDE):
        channels = start + tl.arange(0, SIDE)
        known = channels < c
        mean = _mean(of_all, channels, known, TAKEN)
        for index in range(0, parts, TAKEN):
            part = index + tl.arange(0, TAKEN)
            away = _means(of_all, part, channels, known) - mean[None, :]
            entries = scatter_pointer + _corner(of_all, part)[:, None] + channels[None, :] * (c + 1)
            inside = (part < parts)[:, None] & known[None, :]
            own = tl.load(entries, mask=inside, other=0.0)
            trace += tl.sum(own + _count(of_all, part) * away * away)
    return trace


@triton.jit
def _mean(of_all, channels, known, TAKEN: tl.constexpr):
    """``mu - s_0`` of some channels."""
    _, n, parts, _, _, _ = of_all
    totals = tl.zeros([TAKEN, channels.shape[0]], tl.float32)
    for index in range(0, parts, TAKEN):
        part = index + tl.arange(0, TAKEN)
        totals += _count(of_all, part) * _means(of_all, part, channels, known)
    return tl.sum(totals, 0) / n


@triton.jit
def _means(of_all, part, channels, known):
    """``e_p`` of some parts and channels."""
    pointer, _, parts, _, group, c = of_all
    C = tl.num_programs(1) * c
    inside = (part < parts)[:, None] & known[None, :]
    entries = pointer + part[:, None] * C + group * c + channels[None, :]
    first = load_channels(pointer, group * c + channels, known)
    shift = tl.load(entries, mask=inside, other=0.0) - first[None, :]
    return shift + tl.load(entries + parts * C, mask=inside, other=0.0)


@triton.jit
def _count(of_all, part):
    """The number of positions of some parts, as a column; zero beyond the last."""
    _, n, parts, each, _, _ = of_all
    count = tl.where(part < parts, tl.minimum(each, n - part * each), 0)
    return count.to(tl.float32)[:, None]


@triton.jit
def _corner(of_all, part):
    """Where the sums of squares of some parts begin."""
    _, _, _, _, group, c = of_all
    return (part.to(tl.int64) * tl.num_programs(1) + group) * c * c
