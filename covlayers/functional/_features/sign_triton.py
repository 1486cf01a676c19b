r"""The published gradient of a root of few positions, one program for each sample.

For the formulas see :mod:`~.series`.

Read: :math:`z`, :math:`P = G z`, :math:`T` and :math:`f(b)`. Written: :math:`L, R`. In the scratch
memory: eleven matrices.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.scratch import read, read_transposed, times, write
from covlayers.functional._features.series_triton import frobenius
from covlayers.functional._features.tile import gram, inner
from covlayers.functional._iterations.tile import load, plus_identity, store

MATRICES = 11


@triton.jit
def sign_from_positions(
    x_pointer,
    P_pointer,
    T_pointer,
    y_pointer,
    scratch_pointer,
    L_pointer,
    R_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    n,
    b,
    ITERATIONS: tl.constexpr,
    MATRICES: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The factors of the gradient."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    P_pointer += sample * C * n
    B = scratch_pointer + sample * MATRICES * SIZE * SIZE
    D = B + SIZE * SIZE
    V = D + SIZE * SIZE
    L = V + SIZE * SIZE
    R = L + SIZE * SIZE
    square = R + SIZE * SIZE
    step = square + SIZE * SIZE
    other_step = step + SIZE * SIZE
    VB = other_step + SIZE * SIZE
    commutator = VB + SIZE * SIZE
    shifted = commutator + SIZE * SIZE
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    scale = tl.sqrt(frobenius(K, b, C, SIZE))
    y = tl.load(y_pointer + sample) / scale
    write(VB, K, SIZE)
    write(D, load(T_pointer, n, SIZE) / scale, SIZE)
    write(B, plus_identity(times(VB, D, n, SIZE, PRECISION), y, n, SIZE), SIZE)
    start = inner(x_pointer, P_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    write(V, start / scale, SIZE)
    zero = tl.zeros((SIZE, SIZE), tl.float32)
    write(R, zero, SIZE)
    write(L, plus_identity(zero, 1 / scale, n, SIZE), SIZE)
    for _ in range(ITERATIONS):
        found = times(B, B, n, SIZE, PRECISION)
        write(square, found, SIZE)
        found = plus_identity(y * read(B, SIZE) - found, 3 - y * y, n, SIZE) / 2
        write(step, found, SIZE)
        write(other_step, found - y * read(B, SIZE), SIZE)
        write(L, times(L, step, n, SIZE, PRECISION), SIZE)
        write(VB, times(V, B, n, SIZE, PRECISION), SIZE)
        found = read(VB, SIZE) - read_transposed(VB, SIZE)
        write(commutator, found, SIZE)
        write(shifted, found - y * read(V, SIZE), SIZE)
        found = times(R, step, n, SIZE, PRECISION)
        write(R, found + times(D, shifted, n, SIZE, PRECISION) / 2, SIZE)
        found = times(B, commutator, n, SIZE, PRECISION) - times(VB, B, n, SIZE, PRECISION)
        write(V, (3 * read(V, SIZE) + found) / 2, SIZE)
        write(D, times(D, other_step, n, SIZE, PRECISION), SIZE)
        found = times(square, B, n, SIZE, PRECISION)
        write(B, (3 * read(B, SIZE) - found) / 2, SIZE)
        y = y * (3 - y * y) / 2
    store(L_pointer, read(L, SIZE) / 2, n, SIZE)
    store(R_pointer, read(R, SIZE) / 2, n, SIZE)
