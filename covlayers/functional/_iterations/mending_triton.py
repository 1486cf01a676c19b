r"""Roots of matrices that an eigenvalue below zero has led astray, by their positive parts.

The kernels of the roots leave NaN for such a matrix. A few programs go through all matrices, and
compute :mod:`the positive part <.positive_part>` of one that is so marked, in a memory of their
own, then its roots by the steps of :mod:`~.team_roots_triton`. A matrix with a non-finite entry
stays NaN, and so does one that is far from its positive part.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._base.linalg import BEYOND_ROUNDING
from covlayers.functional._iterations import positive_part
from covlayers.functional._iterations.blocks_triton import largest_on_diagonal
from covlayers.functional._iterations.team_roots_triton import write_roots
from covlayers.functional._iterations.team_triton import (
    write_product,
    write_sum,
    write_symmetric_part,
)
from covlayers.functional._iterations.tile import TINY, one_if_zero

LIFTS = tl.constexpr(positive_part.LIFTS)
P, Q, R = (tl.constexpr(one) for one in positive_part.RISING)
TOLERANCE = tl.constexpr(BEYOND_ROUNDING**4)  # of a squared norm of a square


@triton.jit
def mend(
    A_pointer,
    found_pointer,
    root_pointer,
    inverse_root_pointer,
    scratch_pointer,
    coefficients,
    center,
    limit,
    count,
    STEPS: tl.constexpr,
    ROOT: tl.constexpr,
    INVERSE_ROOT: tl.constexpr,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The wanted roots of the program's matrices where ``found``, one of them, is NaN."""
    part = scratch_pointer + tl.program_id(0).to(tl.int64) * 6 * n * n
    space = part + n * n
    alone = None, None, 0
    for number in range(tl.program_id(0), count, tl.num_programs(0)):
        start = tl.cast(number, tl.int64) * n * n
        found = tl.load(found_pointer + start)
        if found != found:
            near = write_positive_part(
                A_pointer + start, part, space, alone, n, LINE, SIZE, DEPTH, PRECISION
            )
            if near:
                write_roots(
                    part,
                    root_pointer,
                    inverse_root_pointer,
                    start,
                    space,
                    alone,
                    coefficients,
                    center,
                    limit,
                    STEPS,
                    True,
                    True,
                    ROOT,
                    INVERSE_ROOT,
                    1,
                    n,
                    LINE,
                    SIZE,
                    DEPTH,
                    PRECISION,
                )


@triton.jit
def write_positive_part(
    A,
    out,
    S,
    team,
    n: tl.constexpr,
    LINE: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """The positive part, and whether it is near ``A``; ``S`` has space for five matrices."""
    X = S + n * n
    square = X + n * n
    factor = square + n * n
    largest = largest_on_diagonal(A, n, TINY, LINE)  # so no square overflows
    write_symmetric_part(A, n, 1, S, largest, team, 1, n, SIZE)
    total = write_product(S, S, square, team, 1, n, SIZE, DEPTH, PRECISION, True, center=0.0)
    bound = tl.sqrt(one_if_zero(tl.sqrt(total)))
    write_sum(S, X, team, 1, n, SIZE, 1 / bound)
    finite = total < float("inf")
    steps = tl.where(finite, LIFTS, 0)
    for _ in range(steps):
        write_product(X, X, square, team, 1, n, SIZE, DEPTH, PRECISION)
        write_product(
            square, square, factor, team, 1, n, SIZE, DEPTH, PRECISION, False, R, square, Q, P
        )
        write_product(X, factor, square, team, 1, n, SIZE, DEPTH, PRECISION)
        X, square = square, X
    half = 0.5 / bound
    write_product(S, X, factor, team, 1, n, SIZE, DEPTH, PRECISION, False, half, S, -half)
    away = write_product(factor, factor, square, team, 1, n, SIZE, DEPTH, PRECISION, center=0.0)
    write_sum(S, out, team, 1, n, SIZE, largest, factor, largest * bound)
    return finite & (away <= TOLERANCE)
