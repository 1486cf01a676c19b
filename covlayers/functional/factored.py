r"""The spectrum of :math:`X X^\top + b I`, read off the smaller side.

With :math:`X^\top X = Q \operatorname{diag}(\lambda)\, Q^\top` the matrix has the eigenvalues
:math:`v_i = \lambda_i + b` in the directions :math:`u_i = X q_i / \sqrt{\lambda_i}`, and :math:`b`
in all others. A function of it therefore follows from few numbers:

.. math:: f(X X^\top + b I) = f(b)\, I + \sum_i \bigl( f(v_i) - f(b) \bigr)\, u_i u_i^\top .
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.linalg import nonzero, rounding_of
from covlayers.functional.core import MatrixFunction


class ThroughNorm(NamedTuple):
    r"""The part of a derivative that goes through a norm of the matrix.

    :math:`\operatorname{diag}(s) \sum_k c_k G_{kk}` in the eigenbasis.
    """

    weights: Tensor  # c, (*, 1 + M)
    slopes: Tensor  # s, (*, 1 + M)


class Derivative(NamedTuple):
    r"""The derivative of such a function in its eigenbasis, of :math:`b` first.

    :math:`G` becomes :math:`L \circ G`, and what goes through a norm.
    """

    L: Tensor  # (*, 1 + M, 1 + M)
    through_norm: ThroughNorm | None = None


class FactorSpectrum(NamedTuple):
    r"""The spectrum of ``X Xᵀ + b I`` for ``X (*, C, M)``."""

    squares: Tensor  # λ, (*, M)
    base: Tensor  # b, (*, 1)
    others: int  # how often b occurs beside the M others: C - M, which may be negative

    @classmethod
    def of(
        cls, lengths: Tensor, share: float | Tensor, base: float | Tensor, C: int
    ) -> "FactorSpectrum":
        """From the lengths of the columns of ``X Q``, ``(*, M)``, for ``share X Xᵀ + base I``."""
        squares = share * lengths.square()
        if not isinstance(base, Tensor):
            base = torch.full_like(squares[..., :1], base)
        return cls(squares, base, C - squares.shape[-1])

    @property
    def values(self) -> Tensor:
        """``b`` and then all ``v``, ``(*, 1 + M)``."""
        return torch.cat([self.base, self.squares + self.base], -1)

    def raised(self, fn: MatrixFunction) -> "FactorSpectrum":
        r"""With ``b`` out of the rounding noise, if ``fn`` is one of positive matrices.

        That is :math:`\epsilon \lambda_{\max}` where ``b`` is zero, or as good as zero: at most
        :math:`\epsilon^2 \lambda_{\max}`. Any larger ``b`` is exact.
        """
        if not fn.positive:
            return self
        floor = rounding_of(self.squares.amax(-1, keepdim=True).detach())
        least = torch.finfo(floor.dtype).eps * floor
        return self._replace(base=torch.where(self.base > least, self.base, floor))

    def total(self, of_each: Tensor) -> Tensor:
        """The sum over all eigenvalues of ``of_each (*, 1 + M)``, ``(*, 1)``."""
        return of_each[..., 1:].sum(-1, keepdim=True) + self.others * of_each[..., :1]

    def exact(self, fn: MatrixFunction) -> Tensor:
        """``f`` of all values, ``(*, 1 + M)``; raised where it divides by them."""
        return fn.f((self if fn.zero_at_zero else self.raised(fn)).values)

    def norm(self, of_each: Tensor) -> Tensor:
        """The Frobenius norm of a matrix of the eigenvalues ``of_each``, ``(*, 1)``, not 0."""
        peak = nonzero(of_each.abs().amax(-1, keepdim=True))
        return nonzero(peak * self.total((of_each / peak).square()).clamp_min(0).sqrt())


FactorFormula = Callable[[FactorSpectrum, Tensor], Derivative]
"""From a spectrum, and the values of the method at ``b`` and at all ``v``, ``(*, 1 + M)``."""


def quotients(x: Tensor, h: Tensor, slope: Tensor) -> Tensor:
    """``h[x_i, x_j]``; the mean slope where the difference is too small for a quotient."""
    gap = x[..., :, None] - x[..., None, :]
    size = x.abs()
    near = gap.abs() <= 1e-7 * torch.maximum(size[..., :, None], size[..., None, :]) + 1e-10
    mean = (slope[..., :, None] + slope[..., None, :]) / 2
    quotient = (h[..., :, None] - h[..., None, :]) / torch.where(near, 1.0, gap)
    return torch.where(near, mean, quotient)
