r"""How a function of a covariance changes with few positions.

In the eigenbasis the derivative of :math:`f` is :math:`G \mapsto L \circ G`. Of :math:`L` only what
concerns a direction of the features is read: its row :math:`\ell` for a direction without features,
and the differences from it. With the :math:`U`, :math:`Q` and :math:`\alpha` of
:mod:`~covlayers.functional.by_positions`, and :math:`\Lambda` the squared lengths of :math:`X Q`,

.. math:: g_X = 2 \alpha \bigl( G\, U \operatorname{diag}(\ell) + U (D \circ U^\top G\, U) \bigr)\,
          \Lambda^{1/2} Q^\top, \qquad D_{ij} = L_{ij} - \ell_j .

A direction that is rounding alone has :math:`D_{ij} \approx 0`, and no quotient is formed: nothing
small is resolved beside something large. :math:`L` may depend on a norm of :math:`A`, and :math:`b`
on the trace that a shrinkage keeps; both add terms of their own.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.linalg import nonzero, trace
from covlayers.functional.covariances import centered, regularized_covariance
from covlayers.functional.factored import Derivative, FactorSpectrum, ThroughNorm

ROUNDINGS = 24
"""A column of ``X Q`` of no more roundings of the longest is no direction. Below 1 was measured in
float32, whose ``Q`` is found in float64, and up to 16 where it is not, with 16 to 1024 channels."""


class Regularised(NamedTuple):
    """Of which covariance of ``x (*, C, M)`` the function is taken."""

    center: bool
    eps: float
    shrinkage: float | None

    def __call__(self, x: Tensor) -> Tensor:
        """The covariance ``(*, C, C)``."""
        return regularized_covariance(x, *self)

    @property
    def share(self) -> float:
        r""":math:`\alpha`."""
        return 1.0 if self.shrinkage is None else 1.0 - self.shrinkage

    def spectrum(self, lengths: Tensor, C: int) -> FactorSpectrum:
        """From the lengths of the columns of ``X Q``, ``(*, M)``."""
        squares = lengths.square()
        base = torch.full_like(squares[..., :1], self.eps)
        if self.shrinkage is not None:
            base = base + self.shrinkage / max(C, 1) * squares.sum(-1, keepdim=True)
            squares = self.share * squares
        return FactorSpectrum(squares, base, C - squares.shape[-1])


def directions(z: Tensor, Q: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of ``z Q`` at length one or zero, ``(*, C, M)``, and their lengths ``(*, M)``.

    ``size``, ``(*, 1)`` and not zero, is about the largest length, so that no square overflows.
    """
    W = z @ (Q / size.unsqueeze(-1))
    lengths = W.square().sum(-2, keepdim=True).sqrt()  # a fifth of the time of vector_norm
    rounding = ROUNDINGS * torch.finfo(W.dtype).eps * lengths.amax(-1, keepdim=True)
    lengths = lengths.where(~(lengths <= rounding), 0.0)  # NaN stays
    return W * torch.where(lengths == 0, 0.0, 1 / lengths), lengths.squeeze(-2) * size


class Change(NamedTuple):
    """How ``f(A)`` changes with the features."""

    cov: Regularised
    U: Tensor
    lengths: Tensor  # of the columns of X Q, (*, M)
    spectrum: FactorSpectrum
    derivative: Derivative

    @classmethod
    def of(
        cls,
        cov: Regularised,
        x: Tensor,
        Q: Tensor,
        lengths: Tensor,
        L: Tensor,
        weights: Tensor | None,
        by_values: Tensor | None,
    ) -> "Change":
        """From what is kept."""
        norm = None if weights is None or by_values is None else ThroughNorm(weights, by_values)
        U = directions(centered(x, cov.center), Q, nonzero(lengths.amax(-1, keepdim=True)))[0]
        spectrum = cov.spectrum(lengths, x.shape[-2])
        return cls(cov, U, lengths, spectrum, Derivative(L, norm))

    def vjp(self, G: Tensor) -> Tensor:
        """The gradient for ``X Q`` from a symmetric ``G`` for ``f(A)``."""
        cov, U, lengths, spectrum, (L, norm) = self
        absent = lengths.unsqueeze(-2) == 0  # what is no direction may have no finite slope
        row = L[..., :1, 1:].masked_fill(absent, 0.0)
        D = (L[..., 1:, 1:] - row).masked_fill(absent | absent.mT, 0.0)
        P = (U.mT @ G).mT  # as G is symmetric; it costs less than G U
        inner = U.mT @ P
        gU = P.mul_(row).add_(U @ (D * inner)).mul_(2 * cov.share)

        def total(of_each: Tensor) -> Tensor:  # the sum of of_each_k G_kk over the eigenbasis
            own = inner.diagonal(dim1=-2, dim2=-1) * (of_each[..., 1:] - of_each[..., :1])
            return own.sum(-1, keepdim=True) + of_each[..., :1] * trace(G).squeeze(-1)

        if norm is not None:
            by_norm = total(norm.weights)
            gU.add_(U * (2 * cov.share * by_norm * norm.slopes[..., 1:]).unsqueeze(-2))
        if cov.shrinkage is not None:
            by_base = total(L.diagonal(dim1=-2, dim2=-1))
            if norm is not None:
                by_base = by_base + by_norm * spectrum.total(norm.slopes)
            gU.add_(U * (2 * cov.shrinkage / max(U.shape[-2], 1) * by_base).unsqueeze(-2))
        return gU.mul_(lengths.unsqueeze(-2))
