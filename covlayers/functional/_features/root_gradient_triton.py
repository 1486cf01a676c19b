r"""The derivative of the exact root of few positions, one program for each sample.

It solves :math:`R\, X + X R = -T V T` with :math:`V = \tfrac1M z^\top G z` by the squared Smith
iteration, as :mod:`~covlayers.functional._iterations.smith_triton`. The bound of the spectrum of
:math:`R` costs no product, as its square :math:`K + b I` is known.

Read: :math:`z, P = G z, T`. Written: :math:`X`. In the scratch memory: five matrices.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._features.scratch import read, read_transposed, times, write
from covlayers.functional._features.tile import filled, gram, inner, peak, square_sum
from covlayers.functional._iterations.tile import (
    load,
    nonzero,
    one_if_zero,
    plus_identity,
    store,
)

MATRICES = 5


@triton.jit
def gradient_of_root(
    x_pointer,
    P_pointer,
    T_pointer,
    scratch_pointer,
    R_pointer,
    n_stride,
    c_stride,
    m_stride,
    C,
    n,
    b,
    p,
    NEWTON_STEPS: tl.constexpr,
    DOUBLINGS: tl.constexpr,
    MATRICES: tl.constexpr,
    CENTER: tl.constexpr,
    SIZE: tl.constexpr,
    ROWS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The solution; ``p`` is the shift as a share of the bound."""
    sample = tl.program_id(0).to(tl.int64)
    x_pointer += sample * n_stride
    P_pointer += sample * C * n
    S = scratch_pointer + sample * MATRICES * SIZE * SIZE
    V = S + SIZE * SIZE
    D = V + SIZE * SIZE
    X = D + SIZE * SIZE
    product = X + SIZE * SIZE
    right = inner(x_pointer, P_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    write(X, right, SIZE)
    K = gram(x_pointer, c_stride, m_stride, C, n, CENTER, SIZE, ROWS, PRECISION)
    K = filled(K, n, CENTER, SIZE)
    write(D, load(T_pointer, n, SIZE), SIZE)
    write(V, K, SIZE)
    write(S, times(V, D, n, SIZE, PRECISION), SIZE)
    K = plus_identity(K, b, n, SIZE)  # the square of the root
    largest = nonzero(peak(K))
    K = K / largest
    bound = tl.sqrt(largest * one_if_zero(tl.sqrt(square_sum(K))))
    root = plus_identity((read(S, SIZE) + read_transposed(S, SIZE)) / 2, tl.sqrt(b), n, SIZE)
    root = plus_identity(root / bound, p, n, SIZE) / (1 + p)
    write(S, root, SIZE)
    write(product, times(D, X, n, SIZE, PRECISION), SIZE)
    write(X, times(product, D, n, SIZE, PRECISION), SIZE)
    low = p / (1 + p)
    T2 = 2 * (1 + low) * (1 + low) - (1 - low) * (1 - low)
    write(V, plus_identity(-8 / T2 * root, 8 * (1 + low) / T2, n, SIZE), SIZE)
    rho = (1 - low) * (1 - low) / T2
    for _ in range(NEWTON_STEPS):
        beta = 2 / (2 - rho * rho)
        rho = rho * rho * beta / 2
        write(product, times(S, V, n, SIZE, PRECISION), SIZE)
        found = 2 * read(V, SIZE) - times(V, product, n, SIZE, PRECISION)
        write(V, beta * found, SIZE)
    write(D, plus_identity(-2 * p / (1 + p) * read(V, SIZE), 1.0, n, SIZE), SIZE)
    write(product, times(V, X, n, SIZE, PRECISION), SIZE)
    found = times(product, V, n, SIZE, PRECISION)
    write(X, -2 * p / (bound * (1 + p) * (1 + p)) * found, SIZE)
    for _ in range(DOUBLINGS):
        write(product, times(D, X, n, SIZE, PRECISION), SIZE)
        write(X, read(X, SIZE) + times(product, D, n, SIZE, PRECISION), SIZE)
        write(D, times(D, D, n, SIZE, PRECISION), SIZE)
    store(R_pointer, (read(X, SIZE) + read_transposed(X, SIZE)) / 2, n, SIZE)
