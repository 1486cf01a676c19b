r"""Newton-Schulz of few positions and the derivative of its steps, one program for each sample.

With :math:`s = \operatorname{tr} A` the steps are :math:`w \leftarrow w (3-w)^2/4`,
:math:`y \leftarrow y (3 - w)/2` from :math:`w = y = a/s` on, for every eigenvalue :math:`a` of
:math:`A`. Beside :math:`W = w(K + b I)` go the divided differences :math:`S = w[b, K + b]` and
:math:`T = y[b, K + b]`, by the rules for a product and a chain:

.. math:: S \leftarrow \tfrac14 \bigl((3 - w)^2 I + (w - 6) W + W^2\bigr) S, \qquad
          T \leftarrow \tfrac12 T (3 I - W) - \tfrac12 y S ,

with :math:`w, y` at :math:`b`. The derivative goes through the same steps backward, from their
matrices in a scratch memory of :math:`3 M^2` numbers for each step.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.tile import (
    block,
    gradient_trace,
    gram,
    inner,
    put,
    total,
    trace,
)
from covlayers.functional._iterations.tile import dot, plus_identity, store


@triton.jit
def next_steps(W, S, T, w, y, n, SIZE: tl.constexpr, PRECISION: tl.constexpr):
    """The matrices after one more step; four products."""
    square = dot(W, W, PRECISION)
    T = 1.5 * T - dot(T, W, PRECISION) / 2 - y / 2 * S
    E = plus_identity((w - 6) * W + square, (3 - w) * (3 - w), n, SIZE)
    S = dot(E, S, PRECISION) / 4
    W = (9 * W - 6 * square + dot(square, W, PRECISION)) / 4
    return W, S, T


@triton.jit
def next_values(w, y):
    """The values at ``b`` after one more step."""
    return w * (3 - w) * (3 - w) / 4, y * (3 - w) / 2


@triton.jit
def newton_schulz_from_positions(
    x_pointer,
    T_pointer,
    y_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    n,
    b,
    STEPS: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``T`` and ``f(b)``."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    s = trace(K, SIZE) + C * b
    W = plus_identity(K, b, n, SIZE) / s
    S = plus_identity(tl.zeros((SIZE, SIZE), tl.float32), 1.0, n, SIZE)
    T = S
    w = b / s
    y = w
    for _ in range(STEPS):
        W, S, T = next_steps(W, S, T, w, y, n, SIZE, PRECISION)
        w, y = next_values(w, y)
    T = T / (2 * tl.sqrt(s))
    store(T_pointer, T + tl.trans(T), n, SIZE)
    tl.store(y_pointer + sample, tl.sqrt(s) * y)


@triton.jit
def gradient_of_newton_schulz(
    x_pointer,
    P_pointer,
    G_pointer,
    history_pointer,
    L_pointer,
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
    TRIANGLE: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """``L = T`` and ``R``; a name that ends in ``_`` is a gradient."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    P_pointer += sample * C * n
    history_pointer += sample * STEPS * 3 * n * n
    k = tl.arange(0, SIZE)
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    s = trace(K, SIZE) + C * b
    first = b / s
    W = plus_identity(K, b, n, SIZE) / s
    S = plus_identity(tl.zeros((SIZE, SIZE), tl.float32), 1.0, n, SIZE)
    T = S
    w = first
    y = first
    for step in range(STEPS):
        place = history_pointer + step * 3 * n * n
        put(place, W, k, k, n, 1, n, n)
        put(place + n * n, S, k, k, n, 1, n, n)
        put(place + 2 * n * n, T, k, k, n, 1, n, n)
        W, S, T = next_steps(W, S, T, w, y, n, SIZE, PRECISION)
        w, y = next_values(w, y)
    T = T / (2 * tl.sqrt(s))
    T = T + tl.trans(T)
    store(L_pointer, T, n, SIZE)
    tl.debug_barrier()  # one thread wrote what another reads
    V = inner(x_pointer, P_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    of_base = gradient_trace(
        G_pointer + sample * G_n_stride, G_row_stride, G_column_stride, C, TRIANGLE, SIZE
    )
    of_norm = (tl.sqrt(s) * y * of_base - total(V * T)) / 2  # times s
    T_ = V / tl.sqrt(s)
    S_ = tl.zeros((SIZE, SIZE), tl.float32)
    W_ = S_
    w_ = 0.0
    y_ = tl.sqrt(s) * of_base
    for back in range(STEPS):
        step = STEPS - 1 - back
        place = history_pointer + step * 3 * n * n
        w = first
        y = first
        for _ in range(step):
            w, y = next_values(w, y)
        # of W: square, then w (3 - w)² / 4
        W = block(place, k, k, n, 1, n, n)
        square = dot(W, W, PRECISION)
        of_square = dot(W_, W, PRECISION) / 4 - 1.5 * W_
        W_ = 2.25 * W_ + dot(square, W_, PRECISION) / 4
        w_ = w_ * ((3 - w) * (3 - w) - 2 * w * (3 - w)) / 4 - y_ * y / 2
        # of S
        S = block(place + n * n, k, k, n, 1, n, n)
        E = plus_identity((w - 6) * W + square, (3 - w) * (3 - w), n, SIZE)
        E_ = dot(S_, S, PRECISION) / 4
        S_ = dot(E, S_, PRECISION) / 4 - y / 2 * T_
        y_ = y_ * (3 - w) / 2 - total(S * T_) / 2
        w_ += (2 * w - 6) * trace(E_, SIZE) + total(E_ * W)
        W_ += (w - 6) * E_
        of_square += E_
        W_ += dot(of_square, W, PRECISION) + dot(W, of_square, PRECISION)
        # of T
        T = block(place + 2 * n * n, k, k, n, 1, n, n)
        W_ -= dot(T, T_, PRECISION) / 2
        T_ = 1.5 * T_ - dot(T_, W, PRECISION) / 2
    W = block(history_pointer, k, k, n, 1, n, n)
    of_norm -= total(W_ * W) + (w_ + y_) * first
    R = plus_identity((W_ + tl.trans(W_)) / 2, of_norm, n, SIZE) / s
    store(R_pointer, R, n, SIZE)
