r"""The four words of the functional tier: read this file first.

- A :class:`MatrixFunction` is *what* is computed: :math:`f`, :math:`f'` and the divided difference.
- A :class:`Method` is *how*: by matrix products and solves (:class:`DirectMethod`), or through the
  spectrum (:class:`SpectralMethod`).
- A :class:`~covlayers.functional.Backward` is how that is differentiated: through the steps, or by
  a :class:`~covlayers.functional.Rule`, a formula that replaces the derivative.
- :class:`~covlayers.functional.Saved` is what a rule may read.

The first two are here, the last two in :mod:`covlayers.functional.rule`.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from covlayers.functional.checks import UnsupportedError
from covlayers.functional.linalg import rebuild
from covlayers.functional.spectrum import positive

Spectrum = tuple[Tensor, Tensor]
Fns = tuple["MatrixFunction", ...]


class MatrixFunction(ABC):
    r"""A function of symmetric positive matrices, :math:`f(A) = U f(\Lambda) U^\top`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The public name, which is also the attribute that a direct method must offer."""

    @abstractmethod
    def f(self, values: Tensor) -> Tensor:
        """The function of the eigenvalues."""

    @abstractmethod
    def df(self, values: Tensor) -> Tensor:
        """Its derivative."""

    @abstractmethod
    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """``(f(a) - f(b)) / (a - b)`` without cancellation, and ``df(a)`` where ``a = b``."""

    def lyapunov_equation(
        self, output: Tensor, grad: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The ``(S, Q)``, with ``S = output / scale``, whose solution is the gradient."""
        raise UnsupportedError(f"the gradient of {self.name} solves no Lyapunov equation.")

    def lyapunov_factor(self, a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        """``Q_ij / grad_ij`` in the eigenbasis, for eigenvalues ``a`` and ``b`` of ``S``."""
        raise UnsupportedError(f"the gradient of {self.name} solves no Lyapunov equation.")


class Method(ABC):
    """How a matrix function is computed.

    Subclass :class:`DirectMethod` or :class:`SpectralMethod`.
    """

    default_backward: ClassVar[str] = "autograd"

    def select(self, fns: Fns, A: Tensor) -> "Method":
        """The method that will run, itself unless it chooses by the input; raises if it cannot."""
        return self

    @abstractmethod
    def forward(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        """One output for each of ``fns``, then the spectrum if the method has it."""


class DirectMethod(Method):
    """A root by products and solves; a subclass offers ``sqrtm(A)``, ``invsqrtm(A)`` or both."""

    default_backward: ClassVar[str] = "lyapunov"

    def select(self, fns: Fns, A: Tensor) -> "Method":
        for fn in fns:
            if not hasattr(self, fn.name):
                raise UnsupportedError(
                    f"{self} cannot compute {fn.name}; a spectral method can, e.g. method='eigh'."
                )
        return self

    def forward(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        names = tuple(fn.name for fn in fns)
        if names == ("sqrtm", "invsqrtm"):
            return self.sqrtm_and_invsqrtm(A)
        return tuple(getattr(self, name)(A) for name in names)

    def sqrtm_and_invsqrtm(self, A: Tensor) -> tuple[Tensor, Tensor]:
        """Both roots; override it where they share work."""
        offered: Any = self
        return offered.sqrtm(A), offered.invsqrtm(A)


class SpectralMethod(Method):
    """Every function, from eigenvalues and eigenvectors; a subclass offers ``decompose(A)``."""

    default_backward: ClassVar[str] = "loewner"

    @abstractmethod
    def decompose(self, A: Tensor) -> Spectrum:
        """Eigenvalues ``(*, n)`` ascending and eigenvectors ``(*, n, n)``."""

    def forward(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        values, vectors = positive(*self.decompose(A))
        return *(rebuild(fn.f(values), vectors) for fn in fns), values, vectors
