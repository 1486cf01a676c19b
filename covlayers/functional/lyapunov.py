r"""The Lyapunov equation :math:`S X + X S = Q`: one derivative for every solver.

The operator :math:`X \mapsto S X + X S` is self-adjoint, so the gradient of a solution is a
solution: with :math:`W` solving :math:`S W + W S = g_X`,

.. math:: g_Q = W, \qquad g_S = -(W X^\top + X^\top W),

where :func:`lyapunov` solves for :math:`W` again, so derivatives hold to any order.
"""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.checks import choose
from covlayers.functional._base.function import compiling, differentiable
from covlayers.functional._base.linalg import semidefinite, symmetric
from covlayers.functional._base.tensors import (
    check_broadcast,
    check_same,
    check_shape,
    check_square,
    full_precision,
    symmetrised,
)
from covlayers.functional.solvers import SOLVERS, LyapunovSolver


class _Solved:
    @staticmethod
    def forward(S: Tensor, Q: Tensor, solver: LyapunovSolver, *known: Tensor) -> Tensor:
        return solver.solve(S, Q, *known)

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> tuple[Tensor, ...]:
        S, _, ctx.solver, *known = inputs
        return S, output, *known

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        S, X, *known = ctx.saved_tensors
        if compiling():  # a compiled backward pass is not differentiated again
            W = ctx.solver.solve(S, grad, *known)
        else:
            W = lyapunov(S, grad, ctx.solver, *known)
        gS = -symmetric(W @ X.mT + X.mT @ W) if ctx.needs_input_grad[0] else None
        return gS, W, None, *(None for _ in known)

    @staticmethod
    def jvp(ctx: Any, dS: Tensor | None, dQ: Tensor | None, *_: Any) -> Tensor:
        S, X, *known = ctx.saved_tensors
        rhs = torch.zeros_like(X) if dQ is None else dQ
        if dS is not None:
            dS = symmetric(dS)
            rhs = rhs - dS @ X - X @ dS
        return lyapunov(S, rhs, ctx.solver, *known)


_solved = differentiable(_Solved)


def lyapunov(S: Tensor, Q: Tensor, solver: LyapunovSolver, *known: Tensor) -> Tensor:
    """The core: solve with ``solver``, differentiably in ``S`` and ``Q``, both checked before."""
    return _solved(S, Q, solver, *known)


@full_precision
def solve_lyapunov(S: Tensor, Q: Tensor, *, solver: str | LyapunovSolver = "auto") -> Tensor:
    r"""Solve :math:`S X + X S = Q` for symmetric positive definite :math:`S`.

    The solution is differentiable to any order, in forward and reverse mode. It is symmetric when
    :math:`Q` is. Where :math:`S` is singular, ``"eigh"`` raises eigenvalues above the rounding
    noise, and ``"sign"`` and ``"smith"`` do not converge for them: the result stays finite. Where
    :math:`S` has an eigenvalue below -1% of its norm, the result is NaN.

    Args:
        S: symmetric positive definite matrices.
        Q: right-hand sides, symmetric or not; their batch broadcasts with the batch of ``S``.
        solver: ``"eigh"`` (exact), ``"smith"`` (products and one Cholesky), ``"sign"`` (as
            published, eight damped steps), ``"auto"`` (``"eigh"`` on a CPU, else ``"smith"``),
            or a solver object.

    Shape:
        - S: :math:`(*, n, n)`
        - Q: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: if a shape, a device or the solver's name is wrong, or ``S`` is far
            from symmetric.
        InvalidTypeError: if a dtype is wrong or the two differ.

    Example:
        >>> S = torch.tensor([[2.0, 0.0], [0.0, 4.0]])
        >>> solve_lyapunov(S, torch.ones(2, 2))
        tensor([[0.2500, 0.1667],
                [0.1667, 0.1250]])

    Reference:
        :cite:t:`smith1968matrix`; :cite:t:`higham2008functions`, section 5.
    """
    check_square("S", S)
    check_square("Q", Q)
    check_same("S", S, "Q", Q)
    check_shape("Q", Q, tuple(S.shape[-2:]), "to match S")
    check_broadcast("S", S, "Q", Q)
    default = "eigh" if S.device.type == "cpu" else "smith"
    chosen = choose("solver", default if solver == "auto" else solver, SOLVERS, LyapunovSolver)
    if S.numel() == 0 or Q.numel() == 0:
        return symmetric(S) + Q
    S = symmetrised("S", S)
    with torch.no_grad():
        known = chosen.prepare(semidefinite(S))  # some solvers do not notice an indefinite S
    S, Q = torch.broadcast_tensors(S, Q)
    return lyapunov(S, Q, chosen, *known)
