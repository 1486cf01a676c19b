r"""The features of each group by a matrix of its own, from the read to the write.

.. math:: y = \operatorname{diag}(\gamma)\, W (x - \mu) + \beta
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._batch.features_triton import load_centered, load_channels, pointers


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
    tiles,
    SIDE: tl.constexpr,
    WIDTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Some positions of some channels of one group; scale and shift may be None."""
    tile, group = tl.program_id(0) % tiles, tl.program_id(0) // tiles
    rows = tl.program_id(1) * SIDE + tl.arange(0, SIDE)
    positions = tile * WIDTH + tl.arange(0, WIDTH)
    y = tl.zeros([SIDE, WIDTH], tl.float32)
    for start in range(0, c, SIDE):
        inner = start + tl.arange(0, SIDE)
        known = (rows < c)[:, None] & (inner < c)[None, :]
        entries = group.to(tl.int64) * c * c + rows[:, None] * c + inner[None, :]
        W = tl.load(W_pointer + entries, mask=known, other=0.0).to(tl.float32)
        mean = load_channels(mean_pointer, group * c + inner, inner < c)
        inside = (inner < c)[:, None] & (positions < n)[None, :]
        z = load_centered(x_pointer, group * c + inner, positions, inside, M, strides, mean)
        y += tl.dot(W, z, input_precision=PRECISION)
    channels = group * c + rows
    if weight_pointer is not None:
        y *= load_channels(weight_pointer, channels, rows < c)[:, None]
    if bias_pointer is not None:
        y += load_channels(bias_pointer, channels, rows < c)[:, None]
    inside = (rows < c)[:, None] & (positions < n)[None, :]
    tl.store(pointers(y_pointer, channels, positions, M, y_strides), y, mask=inside)
