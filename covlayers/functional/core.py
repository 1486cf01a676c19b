r"""The four words of the functional tier: read this file first.

- A :class:`MatrixFunction` is *what* is computed: :math:`f`, :math:`f'` and the divided difference.
- A :class:`Method` is *how*: by matrix products and solves (:class:`DirectMethod`), or through the
  spectrum (:class:`SpectralMethod`).
- A :class:`~covlayers.functional.Backward` is how that is differentiated: through the steps, or by
  a :class:`~covlayers.functional.Rule`, a formula that replaces the derivative.
- :class:`~covlayers.functional.Saved` is what a rule may read.

The first two are here, the last two in :mod:`covlayers.functional.rule`.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from covlayers.functional._base.decomposition import Spectrum, positive, without_null
from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.linalg import of_spectrum, symmetric

Fns = tuple["MatrixFunction", ...]
Computed = tuple[tuple[Tensor, ...], Spectrum | None]
"""One output for each function, and the spectrum if the method has it, raised out of noise."""


class MatrixFunction(ABC):
    r"""A function of symmetric positive matrices, :math:`f(A) = U f(\Lambda) U^\top`.

    Example:
        >>> class Square(MatrixFunction):
        ...     name = "square"
        ...     def f(self, values):
        ...         return values**2
        ...     def df(self, values):
        ...         return 2 * values
        ...     def divided_difference(self, a, b):
        ...         return a + b
        >>> (Y,), spectrum = Eigh().forward((Square(),), 3 * torch.eye(2))
        >>> Y
        tensor([[9., 0.],
                [0., 9.]])

    Reference:
        :cite:t:`higham2008functions`, chapter 1.
    """

    exponent: float = math.nan
    r"""The :math:`p` of :math:`L(s\lambda) = s^{p-1} L(\lambda)` for divided differences :math:`L`:
    1/2 and -1/2 for the roots, 0 for the logarithm, NaN for none.
    """

    is_root: bool = False
    """Whether it is one of the two square roots, which every method and rule serves."""

    positive: bool = True
    """Whether it is a function of positive semi-definite matrices alone."""

    zero_at_zero: bool = False
    """Whether it is zero at zero. The value of a null direction then is zero, not its floor."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The public name, which is also the attribute that a direct method must offer."""

    @abstractmethod
    def f(self, values: Tensor) -> Tensor:
        """The function of the eigenvalues ``values``, ``(*, n)``, each by itself."""

    @abstractmethod
    def df(self, values: Tensor) -> Tensor:
        """Its derivative at each of ``values``, ``(*, n)``."""

    @abstractmethod
    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        """``(f(a) - f(b)) / (a - b)`` without cancellation, and ``df(a)`` where they are equal.

        Args:
            a: eigenvalues ``(*, n, 1)``, one for each row.
            b: eigenvalues ``(*, 1, n)``, one for each column.
        """

    def lyapunov_equation(
        self, output: Tensor, grad: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The ``(S, Q)``, with ``S = output / scale``, whose solution is the gradient.

        Args:
            output: ``f(A)``, ``(*, n, n)``.
            grad: the gradient for it, ``(*, n, n)``.
            scale: positive numbers ``(*, 1, 1)``.

        Raises:
            UnsupportedError: if the gradient solves no such equation; for the roots it does.
        """
        raise UnsupportedError(f"the gradient of {self.name} solves no Lyapunov equation.")

    def lyapunov_factor(self, a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        """``Q_ij / grad_ij`` in the eigenbasis, for eigenvalues ``a`` and ``b`` of ``S``.

        Args:
            a: eigenvalues ``(*, n, 1)``, one for each row.
            b: eigenvalues ``(*, 1, n)``, one for each column.
            scale: as for :meth:`lyapunov_equation`.

        Raises:
            UnsupportedError: as :meth:`lyapunov_equation`.
        """
        raise UnsupportedError(f"the gradient of {self.name} solves no Lyapunov equation.")


class Method(ABC):
    """How a matrix function is computed.

    Subclass :class:`DirectMethod` or :class:`SpectralMethod`.

    Example:
        >>> class Watched(Method):
        ...     def forward(self, fns, A):
        ...         print(*(fn.name for fn in fns), tuple(A.shape))
        ...         return Eigh().forward(fns, A)
        >>> Y = sqrtm(torch.eye(2), method=Watched())
        sqrtm (2, 2)
    """

    default_backward: ClassVar[str] = "autograd"

    def check(self, fns: Fns) -> None:
        """Raise :class:`UnsupportedError` if the method cannot compute one of ``fns``."""
        return

    def select(self, fns: Fns, A: Tensor) -> "Method":
        """The method for ``fns`` of ``A``, ``(*, n, n)``: itself, unless it chooses by them."""
        return self

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        """How ``fns`` of ``A``, ``(*, n, n)``, would be computed, and why so."""
        return "its own steps", "the method has one implementation"

    @abstractmethod
    def forward(self, fns: Fns, A: Tensor) -> Computed:
        """One output for each of ``fns`` of symmetric ``A``, ``(*, n, n)``, and the spectrum."""

    def steps(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        """The outputs for ``fns`` of ``A``, ``(*, n, n)``; the steps' derivative is symmetric."""
        return self.forward(fns, symmetric(A))[0]


class DirectMethod(Method):
    """A root by products and solves; a subclass offers ``sqrtm(A)``, ``invsqrtm(A)`` or both.

    Example:
        >>> class Newton(DirectMethod):
        ...     def sqrtm(self, A):
        ...         Y = torch.eye(A.shape[-1], dtype=A.dtype)
        ...         for _ in range(10):
        ...             Y = (Y + torch.linalg.solve(Y, A)) / 2
        ...         return Y
        >>> sqrtm(4 * torch.eye(2), method=Newton())
        tensor([[2., 0.],
                [0., 2.]])
    """

    default_backward: ClassVar[str] = "lyapunov"

    def check(self, fns: Fns) -> None:
        for fn in fns:
            if not hasattr(self, fn.name):
                own = f", or define {fn.name}(A) in {type(self).__name__}" if fn.is_root else ""
                raise UnsupportedError(
                    f"{self} cannot compute {fn.name}; take a method that can, e.g. "
                    f"method='eigh'{own}."
                )

    def forward(self, fns: Fns, A: Tensor) -> Computed:
        if len(fns) == 2 and fns[0].is_root and fns[1].is_root:
            both = dict(zip(("sqrtm", "invsqrtm"), self.sqrtm_and_invsqrtm(A), strict=True))
            return tuple(both[fn.name] for fn in fns), None
        return tuple(getattr(self, fn.name)(A) for fn in fns), None

    def sqrtm_and_invsqrtm(self, A: Tensor) -> tuple[Tensor, Tensor]:
        """Both roots of ``A``, ``(*, n, n)``; override it where they share work."""
        offered: Any = self
        return offered.sqrtm(A), offered.invsqrtm(A)


class SpectralMethod(Method):
    r"""Every function, from eigenvalues and eigenvectors; a subclass offers ``decompose(A)``.

    .. math:: f(A) = U f(\Lambda) U^\top

    Example:
        >>> class SVD(SpectralMethod):
        ...     def decompose(self, A):
        ...         U, values, _ = torch.linalg.svd(A)
        ...         return values.flip(-1), U.flip(-1)
        >>> sqrtm(4 * torch.eye(2), method=SVD())
        tensor([[2., 0.],
                [0., 2.]])

    Reference:
        :cite:t:`higham2008functions`, chapter 1.
    """

    default_backward: ClassVar[str] = "loewner"

    @abstractmethod
    def decompose(self, A: Tensor) -> tuple[Tensor, Tensor]:
        """Eigenvalues ``(*, n)`` ascending and eigenvectors ``(*, n, n)`` of ``A``."""

    def forward(self, fns: Fns, A: Tensor) -> Computed:
        spectrum, null = Spectrum(*self.decompose(A)), None
        if any([fn.positive for fn in fns]):
            spectrum, null = positive(spectrum)
        values, vectors, _ = spectrum
        f = [without_null(fn.f(values), fn.zero_at_zero, null) for fn in fns]
        return tuple([of_spectrum(vectors, one) for one in f]), spectrum
