r"""What the published approximations share: they see a matrix divided by its norm.

.. math:: A^{\pm 1/2} \approx s^{\pm 1/2}\, h_\pm(A/s), \qquad s = \operatorname{tr} A
          \text{ or } \lVert A \rVert_F,

with :math:`h_\pm` a polynomial or a rational function.
"""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from covlayers.functional._base.linalg import frobenius_norm, nonzero, semidefinite, trace
from covlayers.functional.core import DirectMethod, Fns
from covlayers.functional.functions import INVSQRT, ROOTS, SQRT, exponent


class NormalisedMethod(DirectMethod):
    r"""An approximation of the roots of ``A / s``; a subclass offers ``approximate(fns, B)``.

    .. math:: A^{\pm 1/2} \approx s^{\pm 1/2}\, h_\pm(A/s)

    ``s`` is the trace, or the Frobenius norm where ``frobenius`` is set. Where that is faster the
    approximation is evaluated on eigenvalues, as matrices of one entry in float64.

    Example:
        >>> class Tangent(NormalisedMethod):  # of the root, at the identity
        ...     frobenius = True
        ...     def approximate(self, fns, B):
        ...         return tuple((torch.eye(B.shape[-1]) + B) / 2 for _ in fns)
        >>> sqrtm(torch.tensor([[4.0]]), method=Tangent())
        tensor([[2.]])

    Reference:
        :cite:t:`li2018towards` (trace); :cite:t:`song2022inverse` (Frobenius norm).
    """

    frobenius: ClassVar[bool]

    @abstractmethod
    def approximate(self, fns: Fns, B: Tensor) -> tuple[Tensor, ...]:
        """One approximate root of the normalised ``B``, ``(*, n, n)``, for each of ``fns``."""

    def norm(self, A: Tensor) -> Tensor:
        """``s`` of ``A``, nonzero, ``(*, 1, 1)``."""
        return frobenius_norm(A) if self.frobenius else nonzero(trace(A))

    def sqrtm(self, A: Tensor) -> Tensor:
        """The root of ``A``, ``(*, n, n)``."""
        return self._roots((SQRT,), A)[0]

    def invsqrtm(self, A: Tensor) -> Tensor:
        """The inverse root of ``A``, ``(*, n, n)``."""
        return self._roots((INVSQRT,), A)[0]

    def sqrtm_and_invsqrtm(self, A: Tensor) -> tuple[Tensor, Tensor]:
        Y, Z = self._roots(ROOTS, A)
        return Y, Z

    def _roots(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        A = semidefinite(A)
        s = self.norm(A)
        roots = self.approximate(fns, A / s)
        return tuple(s ** exponent(fn) * root for fn, root in zip(fns, roots, strict=True))
