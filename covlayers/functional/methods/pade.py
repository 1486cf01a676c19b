"""The matrix Padé approximant (MPA)."""

from dataclasses import dataclass, field
from math import cos, pi
from typing import ClassVar

from torch import Tensor

from covlayers.functional._base.checks import check_count
from covlayers.functional._base.function import compile_time
from covlayers.functional._base.linalg import identity_like, polynomials, solve
from covlayers.functional.core import Fns
from covlayers.functional.methods._normalised import NormalisedMethod

Series = tuple[float, ...]


@dataclass(frozen=True)
class Pade(NormalisedMethod):
    r"""Matrix Padé approximant (MPA), normalised by the Frobenius norm.

    With :math:`B = I - A/\lVert A \rVert_F` and :math:`P/Q` the diagonal Padé approximant of
    :math:`\sqrt{1-z}`,

    .. math:: A^{1/2} \approx \lVert A \rVert_F^{1/2}\, Q(B)^{-1} P(B), \qquad
              A^{-1/2} \approx \lVert A \rVert_F^{-1/2}\, P(B)^{-1} Q(B).

    Its zeros and poles are known: with :math:`N = 2m + 1`,

    .. math:: P(z) = \prod_{k=0}^{m-1} \Bigl(1 - z \cos^2 \tfrac{(2k+1)\pi}{2N}\Bigr), \qquad
              Q(z) = \prod_{k=1}^{m} \Bigl(1 - z \cos^2 \tfrac{k\pi}{N}\Bigr).

    Both are positive on :math:`[0, 1]`, so a Cholesky factor solves and nothing pivots. At
    :math:`z = 1` the quotient is :math:`1/N`: at degree 5 the inverse root saturates at
    :math:`11 / \lVert A \rVert_F^{1/2}`. An indefinite matrix gives NaN.

    Args:
        degree: degree :math:`m \ge 1` of :math:`P` and :math:`Q`.

    Raises:
        InvalidValueError: if ``degree`` is below 1.
        InvalidTypeError: if ``degree`` is not an int.
        UnsupportedError: for another function than the roots.

    Example:
        >>> from covlayers.functional import invsqrtm
        >>> invsqrtm(4 * torch.ones(1, 1), method=Pade(degree=7))
        tensor([[0.5000]])

    Reference:
        :cite:t:`song2022fast` (root); :cite:t:`song2022inverse` (inverse root);
        :cite:t:`lu1998pade`.
    """

    degree: int = 5
    frobenius: ClassVar[bool] = True
    _series: tuple[Series, Series] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_count("degree", self.degree)
        object.__setattr__(self, "_series", _coefficients(self.degree))

    def approximate(self, fns: Fns, B: Tensor) -> tuple[Tensor, ...]:
        P, Q = polynomials(identity_like(B) - B, *self._series)
        return tuple([solve(Q, P) if fn.exponent == 0.5 else solve(P, Q) for fn in fns])


@compile_time
def _coefficients(m: int) -> tuple[Series, Series]:
    """The coefficients of ``P`` and of ``Q``, lowest power first."""
    N = 2 * m + 1
    zeros = [cos((2 * k + 1) * pi / (2 * N)) ** 2 for k in range(m)]
    poles = [cos(k * pi / N) ** 2 for k in range(1, m + 1)]
    return _expand(zeros), _expand(poles)


def _expand(roots: list[float]) -> Series:
    """The coefficients of the product of all ``1 - r z``."""
    c = [1.0]
    for r in roots:
        c = [low - r * high for low, high in zip([*c, 0.0], [0.0, *c], strict=True)]
    return tuple(c)
