"""How kernels see a batch ``(N, C, *)``: tiles of channels by positions, in float32, padded.

Position ``p`` is position ``p % M`` of sample ``p // M``; three strides place it in memory, so a
batch may be contiguous, channels last or broadcast. Channels and positions that are not there are
zero.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def pointers(start, channels, positions, M, strides):
    """Where the features of channels and positions lie, as a tile."""
    sample = (positions // M).to(tl.int64)
    place = (positions % M).to(tl.int64)
    along = sample * strides[0] + place * strides[2]
    return start + channels[:, None].to(tl.int64) * strides[1] + along[None, :]


@triton.jit
def load(start, channels, positions, inside, M, strides):
    """A tile of features."""
    tile = tl.load(pointers(start, channels, positions, M, strides), mask=inside, other=0.0)
    return tile.to(tl.float32)


@triton.jit
def load_centered(start, channels, positions, inside, M, strides, mean):
    """A tile of features less a mean for each channel."""
    tile = load(start, channels, positions, inside, M, strides)
    return tl.where(inside, tile - mean[:, None], 0.0)


@triton.jit
def load_channels(start, channels, known):
    """A number for each channel."""
    return tl.load(start + channels, mask=known, other=0.0).to(tl.float32)


@triton.jit
def lower_pair(k):
    """Row and column of the ``k``-th of the blocks on and below the diagonal, of four rows."""
    row = (k >= 1).to(tl.int32) + (k >= 3).to(tl.int32) + (k >= 6).to(tl.int32)
    return row, k - row * (row + 1) // 2
