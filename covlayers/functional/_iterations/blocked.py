"""The launches for matrices of more rows than one program takes.

A launch of the roots is a product, a launch of the gradient a step of its iteration.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._iterations.blocked_gradient_triton import congruence
from covlayers.functional._iterations.blocked_roots_triton import (
    cubic,
    last_products,
    product,
    scaled_square,
)
from covlayers.functional._iterations.newton import newton_start, newton_step, newton_steps
from covlayers.functional._iterations.strided import FLOOR, PRECISION, limit_of_last, strided


def blocked_roots(
    A: Tensor,
    coefficients: Sequence[float],
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool,
) -> list[Tensor]:
    """The wanted roots, the root first."""
    wanted = [torch.empty_like(A) for _ in range(root + inverse_root)]
    if A.numel() == 0:
        return wanted
    first, *steps = zip(*(coefficients[k::3] for k in range(3)), strict=True)
    steps = steps or [(1.0, 0.0, 0.0)]  # the last step has products only
    quintic = tight or any(coefficients[2::3])
    state, other = A.new_empty(2, 3, *A.shape)
    square = W = torch.empty_like(A)
    center, limit = limit_of_last(A.shape[-1], mended)
    parts, scale = _parts(A), A.new_empty(_number(A))
    line, most = _power_of_two(A.shape[-1]), _power_of_two(_side(A) ** 2)
    with torch.cuda.device_of(A):
        if quintic:
            _launch(scaled_square, A, square, parts, FLOOR, tight, LINE=line)
        Y, Q, Z = state
        start = A, square, parts, Y, Z, scale, FLOOR, 0.0, *first, tight, quintic, True
        _launch(cubic, *start, LINE=line, PARTS=most)
        for index, (p, q, r) in enumerate(steps):
            Y, Q, Z = state
            if quintic:
                _launch(product, Z, Y, W, W, parts, 1.0, 0.0, 0.0, center, 0, False, True)
                _launch(product, W, W, W, Q, parts, r, q, p, 0.0, 0, True, False)
            else:
                _launch(product, Z, Y, W, Q, parts, q, 0.0, p, 0.0, 0, False, False)
            if index + 1 < len(steps):
                pair = Y, Q, W, other, parts, 1.0, 0.0, 0.0, 0.0, A.numel(), False, False
                _launch(product, *pair, products=2)
                state, other = other, state
        last = state[0], wanted[0], wanted[-1], scale, parts, limit, A.numel(), tight
        _launch(last_products, *last, 0 if root else 1, products=len(wanted), PARTS=most)
    return wanted


def blocked_gradient_of_roots(
    Y: Tensor,
    Z: Tensor | None,
    gY: Tensor | None,
    gZ: Tensor | None,
    lower: float,
    doublings: int,
) -> Tensor:
    """``X`` with ``Y X + X Y = gY - Z gZ Z``, for the symmetric parts of the gradients."""
    Y = Y.contiguous()
    X, other_X = torch.empty_like(Y), torch.empty_like(Y)
    if Y.numel() == 0:
        return X
    V, C, rows, right = Y.new_empty(4, *Y.shape)
    parts, bound = _parts(Y), Y.new_empty(_number(Y))
    line, most = _power_of_two(Y.shape[-1]), _power_of_two(_side(Y) ** 2)
    p = lower**0.5
    c0, c1, c2, c3, rho = newton_start(p)
    with torch.cuda.device_of(Y):
        _launch(scaled_square, Y, C, parts, FLOOR**0.5, True, LINE=line)
        start = Y, C, parts, V, V, bound, FLOOR**0.5, c0, c1, c2, c3, True, True, False
        _launch(cubic, *start, LINE=line, PARTS=most)
        for _ in range(1, newton_steps(p)):
            beta, rho = newton_step(rho)
            alpha = -beta / (1 + p)
            _congruence(V, Y, C, rows, D=V, bound=bound, alpha=alpha, beta=2 * beta, inner=p)
            V, C = C, V
        if gZ is not None and Z is not None:
            _congruence(Z.contiguous(), gZ, right, rows, D=gY, alpha=-1.0, given=True)
        M = gY if gZ is None else right
        alpha, cayley = 2 * p / (1 + p) ** 2, (C, -2 * p / (1 + p))
        _congruence(V, M, X, rows, bound=bound, cayley=cayley, alpha=alpha, given=gZ is None)
        for index in range(doublings):
            square = V if index + 1 < doublings else None
            _congruence(C, X, other_X, rows, D=X, square=square)
            X, other_X, C, V = other_X, X, V, C
    return X


def _congruence(
    L: Tensor,
    M: Tensor | None,
    out: Tensor,
    rows: Tensor,
    *,
    D: Tensor | None = None,
    bound: Tensor | None = None,
    square: Tensor | None = None,
    cayley: tuple[Tensor, float] | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    inner: float = 0.0,
    given: bool = False,
) -> None:
    """One launch of the kernel of that name; where None is given for a tensor it has no part."""
    (M, M_strides), (D, D_strides) = strided(M), strided(D)
    second, factor = cayley or (square, 0.0)
    _launch(
        *(congruence, L, M, D, rows, out, second, bound, M_strides, D_strides),
        *(alpha, beta, inner, factor),
        *(bound is not None, given, D is not None, square is not None, cayley is not None),
        by_rows=True,
    )


def _launch(
    kernel: Any,
    matrix: Tensor,
    *args: object,
    by_rows: bool = False,
    products: int = 1,
    **constants: int,
) -> None:
    """A program for each block, or for all blocks of a row, of each product."""
    blocks = _side(matrix) if by_rows else _side(matrix) ** 2
    kernel[(_number(matrix) * blocks, products)](
        matrix,
        *args,
        matrix.shape[-1],
        SIZE=tuning.BLOCK_SIZE,
        DEPTH=tuning.BLOCK_DEPTH,
        PRECISION=PRECISION,
        num_warps=tuning.BLOCK_WARPS,
        num_stages=tuning.BLOCK_STAGES,
        **constants,
    )


def _number(A: Tensor) -> int:
    """The number of matrices."""
    return A.numel() // A.shape[-1] ** 2


def _side(A: Tensor) -> int:
    """The number of blocks on a side of a matrix."""
    return -(-A.shape[-1] // tuning.BLOCK_SIZE)


def _parts(A: Tensor) -> Tensor:
    """Space for one number for each block."""
    return A.new_empty(_number(A), _side(A) ** 2)


def _power_of_two(number: int) -> int:
    """The first power of two that is no smaller."""
    return 1 << (number - 1).bit_length()
