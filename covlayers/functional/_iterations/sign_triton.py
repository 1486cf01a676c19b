r"""The sign iteration for :math:`S X + X S = Q`, from the read to the write.

.. math:: c \leftarrow \tfrac12 (3 c - c\, b^2 - b^2 c + b\, c\, b), \quad
          b \leftarrow \tfrac12 (3 b - b^3), \qquad b_0 = S/\nu, \quad c_0 = Q/\nu, \quad X = c/2,

where :math:`c\, b^2 + b^2 c - b\, c\, b = T b + b (b\, c - T)` with :math:`T = c\, b`.

Read: :math:`S, Q` and the norm :math:`\nu`. Written: :math:`X`. On chip: :math:`b, c, T, b c - T`.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.tile import dot, load, load_scale, store


@triton.jit
def sign_iteration(
    S_pointer,
    Q_pointer,
    norm_pointer,
    X_pointer,
    ITERATIONS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The solutions for the program's matrix."""
    norm = load_scale(norm_pointer)
    b = load(S_pointer, n, SIZE) / norm
    c = load(Q_pointer, n, SIZE) / norm
    for _ in range(ITERATIONS):
        T = dot(c, b, PRECISION)
        D = dot(b, c, PRECISION) - T
        c = (3 * c - dot(T, b, PRECISION) - dot(b, D, PRECISION)) / 2
        b = (3 * b - dot(dot(b, b, PRECISION), b, PRECISION)) / 2
    store(X_pointer, c / 2, n, SIZE)
