"""The exact derivative in the eigenbasis, by divided differences."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.linalg import into_basis, of_spectrum, out_of_basis
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.factored import Derivative, FactorFormula, FactorSpectrum
from covlayers.functional.lyapunov import lyapunov
from covlayers.functional.methods._refinement import refined_gradient
from covlayers.functional.rule import Rule
from covlayers.functional.saved import Saved
from covlayers.functional.solvers import EighSolver


@dataclass(frozen=True)
class Loewner(Rule):
    r"""Exact derivative by the Daleckii-Krein formula.

    .. math:: g_A = U \bigl( L \circ (U^\top g_Y U) \bigr) U^\top, \qquad
              L_{ij} = \frac{f(\lambda_i) - f(\lambda_j)}{\lambda_i - \lambda_j}, \quad
              L_{ii} = f'(\lambda_i),

    with each divided difference written without cancellation, for the root
    :math:`1/(\sqrt{\lambda_i} + \sqrt{\lambda_j})`: bounded and exact at repeated eigenvalues. For
    the roots, derivatives of any order hold.

    Raises:
        UnsupportedError: for a second derivative of another function than the roots.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, method="eigh", backward=Loewner()).trace().backward()
        >>> A.grad
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])

    Reference:
        :cite:t:`daleckii1965`; :cite:t:`ionescu2015matrix`; :cite:t:`higham2008functions`.
    """

    reads: ClassVar[tuple[str, ...]] = ("outputs", "spectrum")

    def any_order(self, fn: MatrixFunction) -> bool:
        return fn.is_root

    def on_factor(self, fn: MatrixFunction, method: Method) -> FactorFormula:
        def formula(spectrum: FactorSpectrum, _: Tensor) -> Derivative:
            values = spectrum.raised(fn).values
            L = fn.divided_difference(values.unsqueeze(-1), values.unsqueeze(-2))
            return Derivative(L.expand(*values.shape, values.shape[-1]))

        return formula

    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        values, vectors, residual = saved.spectrum
        if torch.is_grad_enabled() and fn.is_root:
            values, vectors = values.detach(), vectors.detach()
            # The same gradient as a Lyapunov solution, which autograd can differentiate again.
            roots = fn.f(values)
            scale = roots.amax(-1, keepdim=True)
            output = saved.outputs[fn.name]
            if residual is None:  # the value of the spectrum, the derivative of the output
                own = of_spectrum(vectors, fn.f(values))
                output = output + (own - output).detach()
            S, Q = fn.lyapunov_equation(output, grad, scale.unsqueeze(-1))
            return lyapunov(S, Q, EighSolver(), roots / scale, vectors)
        rotated = into_basis(vectors, grad)
        if residual is not None and fn.is_root:
            inner = refined_gradient(fn, values, residual, rotated)
        else:
            inner = rotated.mul_(fn.divided_difference(values.unsqueeze(-1), values.unsqueeze(-2)))
        return out_of_basis(vectors, inner)
