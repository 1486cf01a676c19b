"""How kernels see a batch ``(N, C, *)``: tiles of channels by positions, in float32, padded.

Position ``p`` is position ``p % M`` of sample ``p // M``; three strides place it in memory, so a
batch may be contiguous, channels last or broadcast. Channels and positions that are not there are
zero. ``RUN`` positions, from a multiple of it on, are neighbours in memory, and all there or none:
they are read at once.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def pointers(start, channels, positions, M, strides, RUN: tl.constexpr):
    """Where the features of channels and positions lie, as a tile."""
    sample = positions // M
    place = positions - sample * M
    along = sample.to(tl.int64) * strides[0] + place.to(tl.int64) * strides[2]
    offsets = channels[:, None].to(tl.int64) * strides[1] + along[None, :]
    if RUN > 1:
        offsets = tl.max_contiguous(tl.multiple_of(offsets, (1, RUN)), (1, RUN))
    return start + offsets


@triton.jit
def within(known, positions, n, RUN: tl.constexpr):
    """Which entries of a tile there are."""
    inside = positions < n
    if RUN > 1:
        inside = tl.max_constancy(inside, RUN)
    return known[:, None] & inside[None, :]


@triton.jit
def load(start, channels, positions, inside, M, strides, RUN: tl.constexpr):
    """A tile of features."""
    places = pointers(start, channels, positions, M, strides, RUN)
    return tl.load(places, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def load_centered(start, channels, positions, inside, M, strides, mean, RUN: tl.constexpr):
    """A tile of features less a mean for each channel."""
    tile = load(start, channels, positions, inside, M, strides, RUN)
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
