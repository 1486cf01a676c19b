r"""What the rules share that choose how to invert the gaps between eigenvalues.

The derivative of the eigenvectors is :math:`dU = U (K \circ U^\top dA\, U)` with
:math:`K_{ij} = 1/(\lambda_j - \lambda_i)`, which explodes as two eigenvalues meet. Each rule of
:mod:`~covlayers.functional.backwards.gaps` chooses a
:math:`K`. For :func:`~covlayers.functional.eigh` it gives

.. math:: g_A = U \bigl( \operatorname{diag}(g_\lambda) + K \circ (U^\top g_U) \bigr) U^\top,

symmetrised, and through it for a matrix function :math:`Y = U f(\Lambda) U^\top`

.. math:: g_A = U \bigl( L \circ (U^\top g_Y U) \bigr) U^\top, \qquad
          L_{ij} = K_{ij} f(\lambda_j) + K_{ji} f(\lambda_i), \quad L_{ii} = f'(\lambda_i).

Every :math:`K` is zero at an exact tie, and the exact one at a tie up to rounding. There a function
of :math:`A` takes the limit :math:`L_{ij} = f'(\lambda_i)`.
"""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.linalg import into_basis, out_of_basis
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.factored import Derivative, FactorFormula, FactorSpectrum
from covlayers.functional.rule import Rule
from covlayers.functional.saved import Saved


class GapRule(Rule):
    r"""A choice of :math:`K_{ij} \approx 1/(\lambda_j - \lambda_i)`.

    A subclass offers ``inverse_gaps``. Serves every matrix function and
    :func:`~covlayers.functional.eigh`. A surrogate has no second derivative, and asking for one
    raises. It looks at each pair by itself: with few positions
    :func:`~covlayers.functional.covariance_function` leaves all but one of the equal values out.

    Example:
        >>> class FarGaps(GapRule):
        ...     def inverse_gaps(self, values):
        ...         gaps = values[..., None, :] - values[..., :, None]
        ...         return torch.where(gaps.abs() > 0.1, 1 / gaps, 0.0)
        >>> A = torch.diag(torch.tensor([1.0, 2.0])).requires_grad_()
        >>> values, vectors = eigh(A, backward=FarGaps())

    Reference:
        :cite:t:`ionescu2015matrix`; :cite:t:`wang2021robust`.
    """

    reads: ClassVar[tuple[str, ...]] = ("spectrum",)

    @abstractmethod
    def inverse_gaps(self, values: Tensor) -> Tensor:
        """``K``, ``(*, n, n)``, zero at ties, for ascending ``values``, ``(*, n)``."""

    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        values, vectors, _ = saved.spectrum
        return out_of_basis(vectors, self._factor(fn, values) * into_basis(vectors, grad))

    def on_factor(self, fn: MatrixFunction, method: Method) -> FactorFormula:
        def formula(spectrum: FactorSpectrum, _: Tensor) -> Derivative:
            return Derivative(self._factor(fn, spectrum.raised(fn).values))

        return formula

    def _factor(self, fn: MatrixFunction, values: Tensor) -> Tensor:
        K = self.inverse_gaps(values)
        f = fn.f(values)
        L = K * f[..., None, :] + K.mT * f[..., :, None]
        limit = tied(values) & (K == 0)  # on the diagonal too
        return torch.where(limit, fn.df(values)[..., None, :], L)


def gaps(values: Tensor) -> Tensor:
    r""":math:`\lambda_j - \lambda_i`."""
    return values[..., None, :] - values[..., :, None]


def tied(values: Tensor) -> Tensor:
    r"""Where :math:`|\lambda_j - \lambda_i| \le 8 \sqrt n \epsilon \max |\lambda|`.

    Rounding splits equal eigenvalues by up to half of this, measured for n = 4 to 128.
    """
    size = values.detach().abs().amax(-1)[..., None, None]
    noise = 8 * values.shape[-1] ** 0.5 * torch.finfo(values.dtype).eps
    return gaps(values).abs() <= noise * size


def larger_and_ratio(values: Tensor) -> tuple[Tensor, Tensor]:
    r"""The larger of each pair in magnitude, nonzero, and the other divided by it.

    A series in the quotient, divided by the larger, approximates the inverse gap up to its sign.
    """
    row, column = values[..., :, None], values[..., None, :]
    swap = row.abs() > column.abs()
    larger, smaller = torch.where(swap, row, column), torch.where(swap, column, row)
    larger = torch.where(larger == 0, torch.finfo(values.dtype).tiny ** 0.375, larger)
    return larger, smaller / larger


def geometric_sum(ratio: Tensor, degree: int) -> Tensor:
    r""":math:`\sum_{k=0}^{K} r^k`, zero for a negative degree; no cancellation at 1."""
    total = torch.ones_like(ratio) if degree >= 0 else torch.zeros_like(ratio)
    for _ in range(degree):
        total = total * ratio + 1
    return total


def sign_of_gap(values: Tensor) -> Tensor:
    r"""1, 0 or -1 as :math:`|\lambda_j|` exceeds, equals or falls below :math:`|\lambda_i|`."""
    return torch.sign(gaps(values.abs())) * (gaps(values) != 0)
