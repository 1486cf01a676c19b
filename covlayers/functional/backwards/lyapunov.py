"""The implicit derivative of a root, as published with MTP and MPA."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count
from covlayers.functional._base.linalg import (
    eigenvalues_in,
    frobenius_norm,
    into_basis,
    of_spectrum,
    out_of_basis,
)
from covlayers.functional._iterations.sign import sign_factor, solve_by_sign
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.factored import Derivative, FactorFormula, FactorSpectrum
from covlayers.functional.functions import SQRT
from covlayers.functional.lyapunov import lyapunov
from covlayers.functional.rule import Rule
from covlayers.functional.saved import Saved
from covlayers.functional.solvers import SignSolver


@dataclass(frozen=True)
class Lyapunov(Rule):
    r"""Implicit derivative, its Lyapunov equation solved by sign iteration.

    For the root :math:`Y g_A + g_A Y = g_Y`, normalised by :math:`\lVert A \rVert_F^{1/2}`; for the
    inverse root :math:`Z g_A + g_A Z = -Z^2 g_Z Z^2`, normalised by :math:`\lVert Z \rVert_F`, each
    matrix by its own norm. Eight steps, as published, are exact only where the normalised
    eigenvalues of :math:`Y` exceed 0.09: at 0.03 the solution is 66% of the truth, at 0.01 25%. For
    the exact solution take :class:`Smith`.

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
    reads: ClassVar[tuple[str, ...]] = ("norm", "outputs", "eigenvalues", "known_spectrum")

    def __post_init__(self) -> None:
        check_count("iterations", self.iterations)

    def any_order(self, fn: MatrixFunction) -> bool:
        return True

    def serves(self, fn: MatrixFunction) -> bool:
        return fn.is_root

    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        output, spectrum = saved.outputs[fn.name], saved.known_spectrum
        again, values = torch.is_grad_enabled(), saved.eigenvalues.get(fn.name)
        if spectrum is not None and not again:  # elementwise in the eigenbasis
            vectors = spectrum.vectors
            a = (eigenvalues_in(vectors, output) if values is None else values).unsqueeze(-1)
            factor = self._factor(fn, a, self._norm(fn, saved, a))
            return out_of_basis(vectors, factor * into_basis(vectors, grad))
        if spectrum is not None and values is not None:  # the output has the derivative alone
            output = output + of_spectrum(spectrum.vectors, values).detach()
        norm = self._norm(fn, saved, output)
        if fn == SQRT and not again:
            return solve_by_sign(output, grad, norm, self.iterations)
        S, Q = fn.lyapunov_equation(output, grad, norm)
        if again:
            return lyapunov(S, Q, SignSolver(self.iterations), torch.ones_like(norm))
        return solve_by_sign(S, Q, torch.ones_like(norm), self.iterations)

    def on_factor(self, fn: MatrixFunction, method: Method) -> FactorFormula:
        def formula(spectrum: FactorSpectrum, f: Tensor) -> Derivative:
            norm = spectrum.norm(spectrum.values).sqrt() if fn == SQRT else spectrum.norm(f)
            f = torch.minimum(f, norm)  # f(b) may be larger where no direction has it
            return Derivative(self._factor(fn, f.unsqueeze(-1), norm.unsqueeze(-1)))

        return formula

    def _factor(self, fn: MatrixFunction, a: Tensor, norm: Tensor) -> Tensor:
        """The gradient in the eigenbasis, entry by entry, from the output's eigenvalues ``a``."""
        a = a / norm
        return fn.lyapunov_factor(a, a.mT, norm) * sign_factor(a, a.mT, self.iterations)

    @staticmethod
    def _norm(fn: MatrixFunction, saved: Saved, output: Tensor) -> Tensor:
        """What the equation is divided by, from the output or a column of its eigenvalues."""
        if fn == SQRT:
            assert saved.norm is not None
            return saved.norm.sqrt()
        return frobenius_norm(output).detach()
