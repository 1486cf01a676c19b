r"""What the published approximations share: they see a matrix divided by its norm.

.. math:: A^{\pm 1/2} \approx s^{\pm 1/2}\, h_\pm(A/s), \qquad s = \operatorname{tr} A
          \text{ or } \lVert A \rVert_F,

with :math:`h_\pm` a polynomial or a rational function.
"""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from covlayers.functional.core import DirectMethod, Fns
from covlayers.functional.linalg import frobenius_norm, nonzero, semidefinite, trace
from covlayers.functional.spectra import INVSQRT, ROOTS, SQRT, exponent


class NormalisedMethod(DirectMethod):
    """An approximation of the roots of ``A / s``; a subclass offers ``approximate(fns, B)``.

    ``s`` is the trace, or the Frobenius norm where ``frobenius`` is set. Where that is faster the
    approximation is evaluated on eigenvalues, as matrices of one entry in float64.
    """

    frobenius: ClassVar[bool]

    @abstractmethod
    def approximate(self, fns: Fns, B: Tensor) -> tuple[Tensor, ...]:
        """One approximate root of the normalised ``B`` for each of ``fns``."""

    def norm(self, A: Tensor) -> Tensor:
        """``s``, nonzero, ``(*, 1, 1)``."""
        return frobenius_norm(A) if self.frobenius else nonzero(trace(A))

    def sqrtm(self, A: Tensor) -> Tensor:
        return self._roots((SQRT,), A)[0]

    def invsqrtm(self, A: Tensor) -> Tensor:
        return self._roots((INVSQRT,), A)[0]

    def sqrtm_and_invsqrtm(self, A: Tensor) -> tuple[Tensor, Tensor]:
        Y, Z = self._roots(ROOTS, A)
        return Y, Z

    def _roots(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        A = semidefinite(A)
        s = self.norm(A)
        roots = self.approximate(fns, A / s)
        return tuple(s ** exponent(fn) * root for fn, root in zip(fns, roots, strict=True))
