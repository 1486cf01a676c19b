r"""Polynomials and partial fractions of a normalised matrix, from the read to the write.

For the formulas see :mod:`~.approximants`. With :math:`p = (1 - c)/c` the fractions are inverses of
:math:`(X + p I)/(1 + p)`, as :mod:`~.smith_triton` has them.

Read: :math:`A`. Written, as far as wanted: root and inverse root. On chip: :math:`X`, the sum, and
:math:`V, M` of the Newton steps.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.smith_triton import shifted_inverse
from covlayers.functional._iterations.tile import (
    dot,
    load,
    nonzero,
    one_if_zero,
    peak,
    plus_identity,
    semidefinite,
    square_sum,
    store,
    symmetric_part,
)


@triton.jit
def approximants(
    A_pointer,
    Y_pointer,
    Z_pointer,
    of_root,
    of_inverse,
    NUMBERS: tl.constexpr,
    FRACTIONS: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    NEWTON_STEPS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The wanted roots of the program's matrix."""
    X = symmetric_part(load(A_pointer, n, SIZE))
    largest = nonzero(peak(X))
    X = X / largest  # so that no square overflows
    norm = one_if_zero(tl.sqrt(square_sum(X)))
    X = X / norm
    scale = tl.sqrt(tl.where(semidefinite(X, n, SIZE), largest * norm, float("nan")))
    if ROOT:
        if FRACTIONS:
            h = sum_of_inverses(X, of_root, NUMBERS, NEWTON_STEPS, n, SIZE, PRECISION)
            h = plus_identity(2 * dot(X, h, PRECISION), 1.0, n, SIZE) / (2 * NUMBERS + 1)
        else:
            h = polynomial(X, of_root, NUMBERS, n, SIZE, PRECISION)
        store(Y_pointer, symmetric_part(h * scale), n, SIZE)
    if INVERSE_ROOT:
        if FRACTIONS:
            h = sum_of_inverses(X, of_inverse, NUMBERS, NEWTON_STEPS, n, SIZE, PRECISION)
            h = plus_identity(2 * h, 1.0, n, SIZE) / (2 * NUMBERS + 1)
        else:
            h = polynomial(X, of_inverse, NUMBERS, n, SIZE, PRECISION)
        store(Z_pointer, symmetric_part(h / scale), n, SIZE)


@triton.jit
def polynomial(X, numbers, NUMBERS: tl.constexpr, n, SIZE: tl.constexpr, PRECISION: tl.constexpr):
    """``c_0 I + c_1 (I - X) + ...``, by Horner."""
    B = plus_identity(-X, 1.0, n, SIZE)
    total = plus_identity(tl.zeros_like(X), numbers[NUMBERS - 1], n, SIZE)
    for k in range(1, NUMBERS):
        c = chosen(numbers, NUMBERS - 1 - k, NUMBERS)
        total = plus_identity(dot(total, B, PRECISION), c, n, SIZE)
    return total


@triton.jit
def sum_of_inverses(
    X,
    numbers,
    NUMBERS: tl.constexpr,
    NEWTON_STEPS: tl.constexpr,
    n,
    SIZE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The sum of all ``((1 - c_k) I + c_k X)⁻¹``."""
    total = tl.zeros_like(X)
    for k in range(NUMBERS):
        c = chosen(numbers, k, NUMBERS)
        total += shifted_inverse(X, (1 - c) / c, NEWTON_STEPS, n, SIZE, PRECISION)
    return total


@triton.jit
def chosen(numbers, k, NUMBERS: tl.constexpr):
    """``numbers[k]`` of a tuple of scalars, for a ``k`` known on chip only."""
    found = numbers[0]
    for j in tl.static_range(1, NUMBERS):
        found = tl.where(k == j, numbers[j], found)
    return found
