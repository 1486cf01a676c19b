"""The matrix Taylor polynomial (MTP)."""

from dataclasses import dataclass, field
from itertools import accumulate
from typing import ClassVar

from torch import Tensor

from covlayers.functional._base.checks import check_count
from covlayers.functional._base.function import compile_time
from covlayers.functional._base.linalg import identity_like, polynomials
from covlayers.functional._iterations.approximants import (
    approximants_by_kernel,
    explain_approximants,
)
from covlayers.functional.core import Fns
from covlayers.functional.functions import ROOTS, SQRT
from covlayers.functional.methods._normalised import NormalisedMethod


@dataclass(frozen=True)
class Taylor(NormalisedMethod):
    r"""Matrix Taylor polynomial (MTP), normalised by the Frobenius norm.

    With :math:`B = I - A/\lVert A \rVert_F`,

    .. math:: A^{\pm 1/2} \approx \lVert A \rVert_F^{\pm 1/2}
              \sum_{k=0}^{K} \binom{\pm 1/2}{k} (-B)^k .

    The series converges slowly where :math:`A` is small: at degree 10, an eigenvalue of zero has
    the root :math:`0.176 \lVert A \rVert_F^{1/2}`. An indefinite matrix gives NaN.

    Args:
        degree: degree :math:`K \ge 1` of the polynomial.

    Raises:
        InvalidValueError: if ``degree`` is below 1.
        InvalidTypeError: if ``degree`` is not an int.
        UnsupportedError: for another function than the roots.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> sqrtm(4 * torch.ones(1, 1), method=Taylor(), backward="smith")
        tensor([[2.]])

    Reference:
        :cite:t:`song2022fast` (root); :cite:t:`song2022inverse` (inverse root).
    """

    degree: int = 10
    frobenius: ClassVar[bool] = True
    _series: dict[float, tuple[float, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_count("degree", self.degree)
        series = {p: _coefficients(self.degree, p) for p in (0.5, -0.5)}
        object.__setattr__(self, "_series", series)

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        return explain_approximants(A) or super().explain(fns, A)

    def _by_kernel(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...] | None:
        numbers = [self._series[fn.exponent] if fn in fns else () for fn in ROOTS]
        roots = approximants_by_kernel(A, *numbers, fractions=False)
        if roots is None:
            return None
        return tuple([roots.root if fn == SQRT else roots.inverse_root for fn in fns])

    def approximate(self, fns: Fns, B: Tensor) -> tuple[Tensor, ...]:
        return polynomials(identity_like(B) - B, *[self._series[fn.exponent] for fn in fns])


@compile_time
def _coefficients(degree: int, p: float) -> tuple[float, ...]:
    r"""The coefficients of :math:`(1 - z)^p`: :math:`c_k = c_{k-1} (k - 1 - p)/k`."""
    steps = range(1, degree + 1)
    return tuple(accumulate(steps, lambda c, k: c * (k - 1 - p) / k, initial=1.0))
