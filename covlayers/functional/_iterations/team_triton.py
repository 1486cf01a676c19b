r"""Whole matrices in memory, a team of programs each: what one writes another may read.

A team shares the blocks of every result out among its members, who then meet before any of them
reads what others have written. The matrices of a team stay in the cache of the GPU.

Members are numbered as they start. A team whose members have all started needs nobody else, and
ends; it leaves room for the members that the youngest team waits for. So no team waits for ever
where there is room for a team beside the youngest one of every launch that runs at the same time:
``tuning.TEAMS_AT_ONCE`` sees to that.
"""

# Triton has no types.
# mypy: disable-error-code="import-untyped,untyped-decorator,no-untyped-def"

import triton
import triton.language as tl

from covlayers.functional._iterations.blocks_triton import (
    block_of_product,
    block_plus_identity,
    load_block,
    load_symmetric_part,
    squares_of,
    store_block,
    store_symmetric,
)


@triton.jit
def join(meetings, parts, TEAM: tl.constexpr):
    """The number of the team that a starting program joins, and the team as it sees it.

    That is where they meet, where they leave their parts of a sum, and the program's own number.
    ``meetings`` is zeros: the number of programs that have started, then one number of each team.
    """
    if TEAM == 1:
        number = tl.program_id(0).to(tl.int64)
        return number, (meetings, parts, 0)
    else:
        started = tl.atomic_add(meetings, 1)
        number = (started // TEAM).to(tl.int64)
        return number, (meetings + 1 + number, parts + number * TEAM, started % TEAM)


@triton.jit
def meet(team, TEAM: tl.constexpr):
    """Wait for all members, and see what they have written."""
    tl.debug_barrier()
    if TEAM > 1:
        come = tl.atomic_add(team[0], 1, sem="acq_rel")
        all_come = (come // TEAM + 1) * TEAM
        while tl.atomic_add(team[0], 0, sem="acquire") < all_come:
            pass
        tl.debug_barrier()


@triton.jit
def meet_for_sum(part, team, TEAM: tl.constexpr):
    """As :func:`meet`: the sum of what every member has brought, always in the same order.

    A team meets once more before its next sum, so that no part is overwritten before it is read.
    """
    if TEAM > 1:
        tl.store(team[1] + team[2], part)
    meet(team, TEAM)
    if TEAM > 1:
        part = 0.0
        for member in range(TEAM):
            part += tl.load(team[1] + member)
    return part


@triton.jit
def write_product(
    left,
    right,
    out,
    team,
    TEAM: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    DEPTH: tl.constexpr,
    PRECISION: tl.constexpr,
    SYMMETRIC: tl.constexpr = False,
    alpha=1.0,
    addend=None,
    beta=1.0,
    gamma=0.0,
    center=None,
    MEET: tl.constexpr = True,
):
    """``alpha L R + beta C + gamma I``, without ``C`` where it is None.

    Of a symmetric result the blocks below the diagonal are computed, and written twice; ``C`` may
    then be where the result is written. Returned, if a ``center`` is given: the squared norm of the
    result less ``center I``.
    """
    side: tl.constexpr = (n + SIZE - 1) // SIZE
    size = 0.0
    for index in range(team[2], side * side, TEAM):
        row, column = index // side * SIZE, index % side * SIZE
        if (not SYMMETRIC) or row >= column:
            block = block_of_product(left, right, row, column, n, SIZE, SIZE, DEPTH, PRECISION)
            block = block_plus_identity(alpha * block, gamma, row, column, n, SIZE, SIZE)
            if addend is not None:
                block += beta * load_block(addend, row, column, n, SIZE, SIZE)
            if SYMMETRIC:
                store_symmetric(out, block, row, column, n, SIZE)
            else:
                store_block(out, block, row, column, n, SIZE, SIZE)
            if center is not None:
                block = block_plus_identity(block, -center, row, column, n, SIZE, SIZE)
                twice = SYMMETRIC and row > column
                size += tl.where(twice, 2.0, 1.0) * squares_of(block)
    if center is not None:
        size = meet_for_sum(size, team, TEAM)
    elif MEET:
        meet(team, TEAM)
    return size


@triton.jit
def write_sum(
    first,
    out,
    team,
    TEAM: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
    alpha=1.0,
    second=None,
    beta=1.0,
    gamma=0.0,
):
    """``alpha A + beta B + gamma I``, without ``B`` where it is None; it may replace either."""
    side: tl.constexpr = (n + SIZE - 1) // SIZE
    for index in range(team[2], side * side, TEAM):
        row, column = index // side * SIZE, index % side * SIZE
        block = alpha * load_block(first, row, column, n, SIZE, SIZE)
        if second is not None:
            block += beta * load_block(second, row, column, n, SIZE, SIZE)
        block = block_plus_identity(block, gamma, row, column, n, SIZE, SIZE)
        store_block(out, block, row, column, n, SIZE, SIZE)
    meet(team, TEAM)


@triton.jit
def write_symmetric_part(
    matrix,
    row_stride,
    column_stride,
    out,
    scale,
    team,
    TEAM: tl.constexpr,
    n: tl.constexpr,
    SIZE: tl.constexpr,
):
    """The symmetric part of a matrix with strides of its own, divided by ``scale``."""
    side: tl.constexpr = (n + SIZE - 1) // SIZE
    for index in range(team[2], side * side, TEAM):
        row, column = index // side * SIZE, index % side * SIZE
        block = load_symmetric_part(matrix, row_stride, column_stride, row, column, n, SIZE, SIZE)
        store_block(out, block / scale, row, column, n, SIZE, SIZE)
    meet(team, TEAM)


@triton.jit
def inner_product(first, second, n, SIZE: tl.constexpr):
    """The sum of the products of the entries, by one program alone."""
    total = 0.0
    for row in range(0, n, SIZE):
        for column in range(0, n, SIZE):
            block = load_block(first, row, column, n, SIZE, SIZE)
            block *= load_block(second, row, column, n, SIZE, SIZE)
            total += tl.sum(tl.sum(block, 1), 0)
    return total
