"""The matrix Padé approximant (MPA)."""

from dataclasses import dataclass, field
from math import cos, pi
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count
from covlayers.functional._base.function import compile_time, compiling
from covlayers.functional._base.linalg import identity_like, polynomials, solve
from covlayers.functional._base.onnx_export import exporting_to_onnx
from covlayers.functional._iterations.approximants import (
    approximants_by_kernel,
    explain_approximants,
)
from covlayers.functional._iterations.inverse import inverse_by_products
from covlayers.functional.core import Fns
from covlayers.functional.functions import INVSQRT, SQRT
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

    Where :math:`B` is near :math:`I`, the powers of :math:`P` and :math:`Q` cancel down to
    :math:`4^{-m}`. So from :math:`4^m \ge \epsilon^{-1/2}` on (degree 6 in float32, 13 in float64)
    partial fractions take their place, with :math:`X = A/\lVert A \rVert_F`, whose terms are all
    positive:

    .. math:: Q(B)^{-1} P(B) &= \tfrac1N \Bigl(I + 2 \sum_{k=1}^{m} X
              \bigl(\sin^2 \tfrac{k\pi}{N} I + \cos^2 \tfrac{k\pi}{N} X\bigr)^{-1}\Bigr),

              P(B)^{-1} Q(B) &= \tfrac1N \Bigl(I + 2 \sum_{k=0}^{m-1}
              \bigl(\sin^2 \tfrac{(2k+1)\pi}{2N} I + \cos^2 \tfrac{(2k+1)\pi}{2N} X\bigr)^{-1}
              \Bigr).

    On an NVIDIA GPU these fractions are taken of small float32 matrices at every degree, and scaled
    Newton steps invert. In a graph for ONNX they do too, as ONNX has no solve.

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
    _zeros: Series = field(init=False, repr=False, compare=False)  # inverse, as the poles
    _poles: Series = field(init=False, repr=False, compare=False)
    _series: tuple[Series, Series] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_count("degree", self.degree)
        names = ("_zeros", "_poles", "_series")
        for name, value in zip(names, _coefficients(self.degree), strict=True):
            object.__setattr__(self, name, value)

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        return explain_approximants(A) or super().explain(fns, A)

    def _by_kernel(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...] | None:
        of_root = self._poles if SQRT in fns else ()
        of_inverse = self._zeros if INVSQRT in fns else ()
        roots = approximants_by_kernel(A, of_root, of_inverse, fractions=True)
        if roots is None:
            return None
        return tuple([roots.root if fn == SQRT else roots.inverse_root for fn in fns])

    def approximate(self, fns: Fns, B: Tensor) -> tuple[Tensor, ...]:
        identity = identity_like(B)
        for_onnx = compiling() and exporting_to_onnx(B)
        if for_onnx or 4**self.degree >= torch.finfo(B.dtype).eps ** -0.5:
            return tuple([self._fractions(B, identity, fn == SQRT, for_onnx) for fn in fns])
        P, Q = polynomials(identity - B, *self._series)
        return tuple([solve(Q, P) if fn == SQRT else solve(P, Q) for fn in fns])

    def _fractions(self, X: Tensor, identity: Tensor, root: bool, for_onnx: bool) -> Tensor:
        squares = self._poles if root else self._zeros  # cos²; all terms in one solve
        M = torch.stack([(1 - c) * identity + c * X for c in squares])
        rhs = X if root else identity
        if for_onnx:
            terms = inverse_by_products(M, 1 - max(squares)) @ rhs
        else:
            terms = solve(M, rhs.expand(M.shape))
        return (identity + 2 * terms.sum(0)) / (2 * self.degree + 1)


@compile_time
def _coefficients(degree: int) -> tuple[Series, Series, tuple[Series, Series]]:
    """The inverse zeros and poles, and the coefficients of the two polynomials."""
    N = 2 * degree + 1
    zeros = tuple([cos((2 * k + 1) * pi / (2 * N)) ** 2 for k in range(degree)])
    poles = tuple([cos(k * pi / N) ** 2 for k in range(1, degree + 1)])
    return zeros, poles, (_expand(zeros), _expand(poles))


def _expand(roots: Series) -> Series:
    """The coefficients of the product of all ``1 - r z``."""
    c = [1.0]
    for r in roots:
        c = [low - r * high for low, high in zip([*c, 0.0], [0.0, *c], strict=True)]
    return tuple(c)
