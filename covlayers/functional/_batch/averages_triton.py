r"""Running averages moved towards the statistics of a batch, in place.

.. math:: \bar\mu \leftarrow \bar\mu + a (\mu - \bar\mu), \qquad
          \bar\Sigma \leftarrow \bar\Sigma + a \bigl( \tfrac n{n-1} \Sigma - \bar\Sigma \bigr)

with :math:`a` the momentum, or one over the number of batches; nothing moves unless all variances
are finite. Where a mean is not finite, neither is its variance.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl


@triton.jit
def move(
    running_mean_pointer,
    running_cov_pointer,
    seen_pointer,
    mean_pointer,
    cov_pointer,
    unbiased,
    momentum,
    channels,
    c,
    WIDTH: tl.constexpr,
):
    """Some of the entries; a single program must take all where the momentum is None."""
    program, programs = tl.program_id(0), tl.num_programs(0)
    variance = 0.0
    for start in range(0, channels, WIDTH):
        k = start + tl.arange(0, WIDTH)
        place = (k // c).to(tl.int64) * c * c + (k % c) * (c + 1)
        variance += tl.sum(tl.load(cov_pointer + place, mask=k < channels, other=0.0))
    if variance < float("inf"):
        weight = momentum
        if momentum is None:
            weight = 1 / (tl.load(seen_pointer) + 1).to(tl.float32)
            tl.debug_barrier()  # no warp may write the number before all have read it
        if program == 0:
            tl.store(seen_pointer, tl.load(seen_pointer) + 1)
        for start in range(program * WIDTH, channels * c, programs * WIDTH):
            k = start + tl.arange(0, WIDTH)
            _move(running_cov_pointer + k, cov_pointer + k, unbiased, weight, k < channels * c)
            _move(running_mean_pointer + k, mean_pointer + k, 1.0, weight, k < channels)


@triton.jit
def _move(running_pointer, batch_pointer, factor, weight, mask):
    running = tl.load(running_pointer, mask=mask, other=0.0)
    batch = factor * tl.load(batch_pointer, mask=mask, other=0.0)
    tl.store(running_pointer, running + weight * (batch - running), mask=mask)
