r"""The features of each group by a matrix of its own, from the read to the write.

.. math:: y = \operatorname{diag}(\gamma)\, W (x - \mu) + \beta
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._batch.features_triton import (
    load_centered,
    load_channels,
    pointers,
    within,
)
from covlayers.functional._iterations.tile import dot


@triton.jit
def affine(
    x_pointer,
    W_pointer,
    mean_pointer,
    weight_pointer,
    bias_pointer,
    y_pointer,
    n,
    M,
    strides,
    y_strides,
    c,
    RUN: tl.constexpr,
    SIDE: tl.constexpr,
    DEPTH: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Some positions of some channels of one group; scale and shift may be None."""
    group = tl.program_id(2)
    columns = tl.program_id(1) * SIDE + tl.arange(0, SIDE)
    known_columns = columns < c
    positions = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    W_pointer += group.to(tl.int64) * c * c
    y = tl.zeros([WIDTH, SIDE], tl.float32)
    for start in range(0, c, DEPTH):
        inner = start + tl.arange(0, DEPTH)
        known = inner < c
        mean = load_channels(mean_pointer, group * c + inner, known)
        inside = within(known, positions, n, RUN)
        z = load_centered(x_pointer, group * c + inner, positions, inside, M, strides, mean, RUN)
        entries = columns[None, :] * c + inner[:, None]
        W = tl.load(W_pointer + entries, mask=known[:, None] & known_columns[None, :], other=0.0)
        y = dot(tl.trans(z), W.to(tl.float32), PRECISION, y)
    channels = group * c + columns
    if weight_pointer is not None:
        y *= load_channels(weight_pointer, channels, known_columns)[None, :]
    if bias_pointer is not None:
        y += load_channels(bias_pointer, channels, known_columns)[None, :]
    inside = within(known_columns, positions, n, RUN)
    places = pointers(y_pointer, channels, positions, M, y_strides, RUN)
    tl.store(places, tl.trans(y), mask=inside)
