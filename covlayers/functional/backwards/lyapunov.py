"""The implicit derivative of a root, as published with MTP and MPA."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count
from covlayers.functional._base.linalg import frobenius_norm
from covlayers.functional.core import MatrixFunction
from covlayers.functional.functions import SQRT, is_root
from covlayers.functional.lyapunov import lyapunov
from covlayers.functional.rule import Rule
from covlayers.functional.saved import Saved
from covlayers.functional.solvers import SignSolver


@dataclass(frozen=True)
class Lyapunov(Rule):
    r"""Implicit derivative, its Lyapunov equation solved by sign iteration.

    For the root :math:`Y g_A + g_A Y = g_Y`, normalised by :math:`\lVert A \rVert_F^{1/2}`; for the
    inverse root :math:`Z g_A + g_A Z = -Z^2 g_Z Z^2`, normalised by :math:`\lVert Z \rVert_F`, each
    matrix by its own. Eight steps, as published, are exact only where the normalised eigenvalues
    of :math:`Y` exceed 0.09: at 0.03 the solution is 66% of the truth, at 0.01 25%. For the exact
    solution take :class:`Smith`.

    Args:
        iterations: steps of the sign iteration, at least 1.

    Raises:
        InvalidValueError: if ``iterations`` is below 1.
        InvalidTypeError: if ``iterations`` is not an int.
        UnsupportedError: for another function than the roots.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, method="pade", backward=Lyapunov(8)).sum().backward()

    Reference:
        :cite:t:`song2022fast`; :cite:t:`song2022inverse`; :cite:t:`lin2017improved`.
    """

    iterations: int = 8
    reads: ClassVar[tuple[str, ...]] = ("A", "outputs", "spectrum")

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations)

    def any_order(self, fn: MatrixFunction) -> bool:
        return True

    def serves(self, fn: MatrixFunction) -> bool:
        return is_root(fn)

    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        output = saved.outputs[fn.name]
        root_of_norm = fn.name == SQRT.name
        norm = frobenius_norm(saved.input).sqrt() if root_of_norm else frobenius_norm(output)
        norm = norm.detach()
        solver = SignSolver(self.iterations)
        if saved.known_spectrum and not torch.is_grad_enabled():  # the same elementwise
            vectors = saved.known_spectrum[1]
            s = ((output @ vectors) * vectors).sum(-2) / norm.squeeze(-1)
            a, b = s[..., :, None], s[..., None, :]
            factor = fn.lyapunov_factor(a, b, norm) * solver.factor(a, b)
            return vectors @ (factor * (vectors.mT @ grad @ vectors)) @ vectors.mT
        S, Q = fn.lyapunov_equation(output, grad, norm)
        return lyapunov(S, Q, solver, torch.ones_like(norm))
