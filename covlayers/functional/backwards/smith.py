"""The implicit derivative of a root, exact at any condition number."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.function import compiling
from covlayers.functional._base.linalg import symmetric
from covlayers.functional._iterations.root_gradient import (
    bound_of_root,
    gradient_by_kernel,
    right_hand_side,
)
from covlayers.functional.core import Fns, MatrixFunction
from covlayers.functional.functions import INVSQRT, SQRT
from covlayers.functional.lyapunov import lyapunov
from covlayers.functional.rule import Grads, Rule
from covlayers.functional.saved import Saved
from covlayers.functional.solvers import SmithSolver


@dataclass(frozen=True)
class Smith(Rule):
    r"""Implicit derivative, its Lyapunov equation solved by the squared Smith iteration.

    .. math:: Y g_A + g_A Y = g_Y - Z\, g_Z\, Z

    serves the root and the inverse root, and needs only them: three products a step and one
    Cholesky, no spectrum. Exact to rounding for eigenvalues of :math:`A` above :math:`\ell^2`
    times the largest; derivatives of any order hold.

    Args:
        lower: :math:`\ell`, in (0, 1], a lower bound for the eigenvalues of :math:`Y` as a fraction
            of the largest. Default :math:`\sqrt{8\epsilon}`.
        doublings: steps, at least 1; by default as many as ``lower`` needs for full precision
            (7 in float32).

    Raises:
        InvalidValueError: if ``lower`` lies outside (0, 1] or ``doublings`` is below 1.
        InvalidTypeError: if ``lower`` is not a real number or ``doublings`` not an int.
        UnsupportedError: for another function than the roots.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, method="polar_express", backward=Smith()).sum().backward()

    Reference:
        :cite:t:`smith1968matrix`.
    """

    lower: float | None = None
    doublings: int | None = None
    reads: ClassVar[tuple[str, ...]] = ("outputs",)

    def __post_init__(self) -> None:
        SmithSolver(self.lower, self.doublings)  # checks the options

    def any_order(self, fn: MatrixFunction) -> bool:
        return True

    def serves(self, fn: MatrixFunction) -> bool:
        return fn.is_root

    def computes(self, fns: Fns) -> Fns:
        inverse = any([fn == INVSQRT for fn in fns])
        return (*fns, SQRT) if inverse and len(fns) == 1 else fns

    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        grads = {fn.name: grad}
        X = self._by_kernel(saved, grads)
        return self._by_lines(saved, grads) if X is None else X

    def vjp_of_all(self, saved: Saved, grads: Grads) -> Tensor:
        """As the equation is linear, one solve for both functions."""
        named = {fn.name: grad for fn, grad in grads}
        X = self._by_kernel(saved, named)
        if X is not None:
            return X
        return symmetric(self._by_lines(saved, {k: symmetric(grad) for k, grad in named.items()}))

    def _by_kernel(self, saved: Saved, grads: Mapping[str, Tensor]) -> Tensor | None:
        Y, Z = saved.outputs[SQRT.name], saved.outputs.get(INVSQRT.name)
        steps = (_steps if compiling() else _known_steps)(self.lower, self.doublings, Y.dtype)
        return gradient_by_kernel(Y, Z, grads.get(SQRT.name), grads.get(INVSQRT.name), *steps)

    def _by_lines(self, saved: Saved, grads: Mapping[str, Tensor]) -> Tensor:
        Y, Z = saved.outputs[SQRT.name], saved.outputs.get(INVSQRT.name)
        Q = right_hand_side(Z, grads.get(SQRT.name), grads.get(INVSQRT.name))
        solver = SmithSolver(self.lower, self.doublings)
        return lyapunov(Y, Q, solver, bound_of_root(Y.detach()))


def _steps(lower: float | None, doublings: int | None, dtype: torch.dtype) -> tuple[float, int]:
    return SmithSolver(lower, doublings).steps(dtype)


_known_steps = lru_cache(_steps)  # a compiled graph takes no cache
