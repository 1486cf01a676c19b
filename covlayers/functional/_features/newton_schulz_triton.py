r"""Newton-Schulz of few positions and the derivative of its steps, one program for each sample.

With :math:`s = \operatorname{tr} A` the steps are :math:`w \leftarrow w (3-w)^2/4`,
:math:`y \leftarrow y (3 - w)/2` from :math:`w = y = a/s` on, for every eigenvalue :math:`a` of
:math:`A`. Beside :math:`W = w(K + b I)` go the divided differences :math:`S = w[b, K + b]` and
:math:`T = y[b, K + b]`, by the rules for a product and a chain:

.. math:: S \leftarrow \tfrac14 \bigl((3 - w)^2 I + (w - 6) W + W^2\bigr) S, \qquad
          T \leftarrow \tfrac12 T (3 I - W) - \tfrac12 y S ,

with :math:`w, y` at :math:`b`. The derivative goes through the same steps backward, from their
matrices in the scratch memory: three for each step, and some that come and go.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.scratch import read, read_transposed, times, write
from covlayers.functional._features.tile import gradient_trace, gram, inner, total, trace
from covlayers.functional._iterations.tile import load, plus_identity, store

PASSING = 5
"""Matrices in the scratch memory that belong to no step."""


@triton.jit
def next_values(w, y):
    """The values at ``b`` after one more step."""
    return w * (3 - w) * (3 - w) / 4, y * (3 - w) / 2


@triton.jit
def run(
    K,
    passed,
    square,
    E,
    s,
    b,
    STEPS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write ``W, S, T`` before every step and after the last; return ``y`` after it."""
    write(passed, plus_identity(K, b, n, SIZE) / s, SIZE)
    identity = plus_identity(tl.zeros((SIZE, SIZE), tl.float32), 1.0, n, SIZE)
    write(passed + SIZE * SIZE, identity, SIZE)
    write(passed + 2 * SIZE * SIZE, identity, SIZE)
    w = b / s
    y = w
    for step in range(STEPS):
        W = passed + step * 3 * SIZE * SIZE
        S = W + SIZE * SIZE
        T = S + SIZE * SIZE
        write(square, times(W, W, n, SIZE, PRECISION), SIZE)
        found = (w - 6) * read(W, SIZE) + read(square, SIZE)
        write(E, plus_identity(found, (3 - w) * (3 - w), n, SIZE), SIZE)
        found = 9 * read(W, SIZE) - 6 * read(square, SIZE)
        found = (found + times(square, W, n, SIZE, PRECISION)) / 4
        write(T + SIZE * SIZE, found, SIZE)
        write(T + 2 * SIZE * SIZE, times(E, S, n, SIZE, PRECISION) / 4, SIZE)
        found = 1.5 * read(T, SIZE) - y / 2 * read(S, SIZE)
        write(T + 3 * SIZE * SIZE, found - times(T, W, n, SIZE, PRECISION) / 2, SIZE)
        w, y = next_values(w, y)
    return y


@triton.jit
def newton_schulz_from_positions(
    x_pointer,
    scratch_pointer,
    T_pointer,
    y_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    n,
    b,
    STEPS: tl.constexpr,
    MATRICES: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``T`` and ``f(b)``."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    square = scratch_pointer + sample * MATRICES * SIZE * SIZE
    E = square + SIZE * SIZE
    passed = E + SIZE * SIZE
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    s = trace(K, SIZE) + C * b
    y = run(K, passed, square, E, s, b, STEPS, n, SIZE, PRECISION)
    T = read(passed + (3 * STEPS + 2) * SIZE * SIZE, SIZE) / (2 * tl.sqrt(s))
    store(T_pointer, T + tl.trans(T), n, SIZE)
    tl.store(y_pointer + sample, tl.sqrt(s) * y)


@triton.jit
def gradient_of_newton_schulz(
    x_pointer,
    P_pointer,
    G_pointer,
    T_pointer,
    scratch_pointer,
    R_pointer,
    G_n_stride,
    G_row_stride,
    G_column_stride,
    n_stride,
    c_stride,
    m_stride,
    C,
    n,
    b,
    STEPS: tl.constexpr,
    MATRICES: tl.constexpr,
    TRIANGLE: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The factor ``R`` beside ``L = T``; a name that ends in ``_`` is a gradient."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    P_pointer += sample * C * n
    square = scratch_pointer + sample * MATRICES * SIZE * SIZE
    E = square + SIZE * SIZE
    W_ = E + SIZE * SIZE
    S_ = W_ + SIZE * SIZE
    T_ = S_ + SIZE * SIZE
    passed = T_ + SIZE * SIZE
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    s = trace(K, SIZE) + C * b
    y = run(K, passed, square, E, s, b, STEPS, n, SIZE, PRECISION)
    V = inner(x_pointer, P_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    of_base = gradient_trace(
        G_pointer + sample * G_n_stride, G_row_stride, G_column_stride, C, TRIANGLE, SIZE
    )
    of_norm = (tl.sqrt(s) * y * of_base - total(V * load(T_pointer, n, SIZE))) / 2  # times s
    write(T_, V / tl.sqrt(s), SIZE)
    zero = tl.zeros((SIZE, SIZE), tl.float32)
    write(S_, zero, SIZE)
    write(W_, zero, SIZE)
    w_ = 0.0
    y_ = tl.sqrt(s) * of_base
    for back in range(STEPS):
        W = passed + (STEPS - 1 - back) * 3 * SIZE * SIZE
        S = W + SIZE * SIZE
        T = S + SIZE * SIZE
        w = b / s
        y = w
        for _ in range(STEPS - 1 - back):
            w, y = next_values(w, y)
        # through w (3 - w)² / 4, with its square
        write(square, times(W, W, n, SIZE, PRECISION), SIZE)
        of_square = times(W_, W, n, SIZE, PRECISION) / 4 - 1.5 * read(W_, SIZE)
        of_W = 2.25 * read(W_, SIZE) + times(square, W_, n, SIZE, PRECISION) / 4
        w_ = w_ * ((3 - w) * (3 - w) - 2 * w * (3 - w)) / 4 - y_ * y / 2
        # through S
        of_E = times(S_, S, n, SIZE, PRECISION) / 4
        w_ += (2 * w - 6) * trace(of_E, SIZE) + total(of_E * read(W, SIZE))
        write(W_, of_W + (w - 6) * of_E, SIZE)
        y_ = y_ * (3 - w) / 2 - total(read(S, SIZE) * read(T_, SIZE)) / 2
        found = (w - 6) * read(W, SIZE) + read(square, SIZE)
        write(E, plus_identity(found, (3 - w) * (3 - w), n, SIZE), SIZE)
        found = times(E, S_, n, SIZE, PRECISION) / 4
        write(S_, found - y / 2 * read(T_, SIZE), SIZE)
        write(square, of_square + of_E, SIZE)
        found = times(square, W, n, SIZE, PRECISION) + times(W, square, n, SIZE, PRECISION)
        # through T
        found -= times(T, T_, n, SIZE, PRECISION) / 2
        write(W_, read(W_, SIZE) + found, SIZE)
        found = times(T_, W, n, SIZE, PRECISION)
        write(T_, 1.5 * read(T_, SIZE) - found / 2, SIZE)
    of_norm -= total(read(W_, SIZE) * read(passed, SIZE)) + (w_ + y_) * b / s
    R = (read(W_, SIZE) + read_transposed(W_, SIZE)) / 2
    store(R_pointer, plus_identity(R, of_norm, n, SIZE) / s, n, SIZE)
