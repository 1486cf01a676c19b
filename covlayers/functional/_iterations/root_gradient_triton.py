r"""The gradient of root and inverse root, from the read to the write.

With the symmetric parts of the gradients and a bound :math:`b` of the spectrum of :math:`Y`,

.. math:: Y X + X Y = g_Y - Z\, g_Z\, Z, \qquad b = \lVert Y^2 \rVert_F^{1/2},

solved as :mod:`~.smith_triton` does. A zero root is taken as the root of a tiny matrix.

Read: :math:`Y`, and of :math:`Z, g_Y, g_Z` what there is. Written: the symmetric part of :math:`X`.
On chip: :math:`M, V` of Smith's iteration, then :math:`X, C`.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.smith_triton import doubled_series, shifted_inverse
from covlayers.functional._iterations.tile import (
    TINY,
    dot,
    load,
    load_strided,
    nonzero,
    one_if_zero,
    peak,
    square_sum,
    store,
    symmetric_part,
)


@triton.jit
def root_gradient(
    Y_pointer,
    Z_pointer,
    gY_pointer,
    gZ_pointer,
    X_pointer,
    gY_strides,
    gZ_strides,
    p,
    OF_ROOT: tl.constexpr,
    OF_INVERSE_ROOT: tl.constexpr,
    NEWTON_STEPS: tl.constexpr,
    DOUBLINGS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The gradients for the program's matrix, from one gradient of theirs or both."""
    if OF_INVERSE_ROOT:
        Z = load(Z_pointer, n, SIZE)
        gZ = symmetric_part(load_strided(gZ_pointer, gZ_strides, n, SIZE))
        Q = -dot(dot(Z, gZ, PRECISION), Z, PRECISION)
        if OF_ROOT:
            Q += symmetric_part(load_strided(gY_pointer, gY_strides, n, SIZE))
    else:
        Q = symmetric_part(load_strided(gY_pointer, gY_strides, n, SIZE))
    Y = load(Y_pointer, n, SIZE)
    bound = spectral_bound(Y, n, PRECISION)
    V = shifted_inverse(Y / bound, p, NEWTON_STEPS, n, SIZE, PRECISION)
    X = doubled_series(V, Q, bound, p, DOUBLINGS, n, SIZE, PRECISION)
    store(X_pointer, symmetric_part(X), n, SIZE)


@triton.jit
def spectral_bound(Y, n, PRECISION: tl.constexpr):
    """No smaller than the largest eigenvalue of ``Y``."""
    largest = peak(Y)
    Y = Y / nonzero(largest)  # so that no square overflows
    norm = one_if_zero(tl.sqrt(square_sum(Y)))
    Y = Y / norm
    ratio = tl.sqrt(square_sum(dot(Y, Y, PRECISION)))
    ratio = tl.maximum(ratio, 1 / tl.sqrt(n.to(tl.float32)))
    return tl.where(largest > 0, largest * norm * tl.sqrt(ratio), tl.sqrt(TINY))
