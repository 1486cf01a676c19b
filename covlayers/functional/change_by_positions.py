r"""How a function of a covariance changes with few positions.

In the eigenbasis the derivative of :math:`f` is :math:`G \mapsto L \circ G`. Of :math:`L` only what
concerns a direction of the features is read: its row :math:`\ell` for a direction without features,
and the differences from it. With :math:`W`, :math:`Q` and :math:`\alpha` of
:mod:`~covlayers.functional.by_positions`,

.. math:: g_X = 2 \alpha \bigl( G\, W \operatorname{diag}(\ell)
          + \alpha\, W (D \circ W^\top G\, W) \bigr)\, Q^\top, \qquad
          D_{ij} = \frac{L_{ij} - \ell_j}{\lambda_i} .

As :math:`\lambda_i = \alpha \lVert w_i \rVert^2`, what :math:`D` multiplies is as small as its
divisor: nothing small is resolved beside something large. :math:`L` may depend on a norm of
:math:`A`, and :math:`b` on the trace that a shrinkage keeps; both add terms of their own.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.linalg import identity_like, nonzero, regularized, trace
from covlayers.functional.covariances import centered, centered_product
from covlayers.functional.factored import Derivative, FactorSpectrum, ThroughNorm, slopes


class Regularised(NamedTuple):
    """Of which covariance of ``x (*, C, M)`` the function is taken."""

    center: bool
    eps: float
    shrinkage: float | None

    def __call__(self, x: Tensor) -> Tensor:
        """The covariance ``(*, C, C)``."""
        return regularized(centered_product(x, None, self.center), self.eps, self.shrinkage)

    @property
    def share(self) -> float:
        r""":math:`\alpha`."""
        return 1.0 if self.shrinkage is None else 1.0 - self.shrinkage

    def rotated(self, x: Tensor, Q: Tensor) -> Tensor:
        """``W``, of features or of their change."""
        return (centered(x, self.center) @ Q) * x.shape[-1] ** -0.5

    def spectrum(self, squares: Tensor, C: int) -> FactorSpectrum:
        """From the squared lengths of the columns of ``W``."""
        base = torch.full_like(squares[..., :1], self.eps)
        if self.shrinkage is not None:
            base = base + self.shrinkage / C * squares.sum(-1, keepdim=True)
            squares = self.share * squares
        return FactorSpectrum(squares, base, C - squares.shape[-1])


class Change(NamedTuple):
    """How ``f(A)`` changes with ``W``."""

    cov: Regularised
    W: Tensor
    scale: Tensor  # what the squares are divided by, so that no quotient overflows, (*, 1)
    spectrum: FactorSpectrum
    derivative: Derivative

    @classmethod
    def of(
        cls,
        cov: Regularised,
        x: Tensor,
        Q: Tensor,
        squares: Tensor,
        L: Tensor,
        weights: Tensor | None,
        by_values: Tensor | None,
    ) -> "Change":
        """From what is kept: ``|w|²``, and a :class:`Derivative`."""
        norm = None if weights is None or by_values is None else ThroughNorm(weights, by_values)
        scale = nonzero(squares.amax(-1, keepdim=True))
        spectrum = cov.spectrum(squares, x.shape[-2])
        return cls(cov, cov.rotated(x, Q), scale, spectrum, Derivative(L, norm))

    def vjp(self, G: Tensor) -> Tensor:
        """The gradient for ``W`` from a symmetric ``G`` for ``f(A)``."""
        cov, W, scale, spectrum, (L, norm) = self
        P = G @ W
        inner = W.mT @ (P / scale.unsqueeze(-1))
        gW = P.mul_(L[..., :1, 1:]).add_(W @ (self._differences() * inner)).mul_(2 * cov.share)

        def total(of_each: Tensor) -> Tensor:  # the sum of of_each_k G_kk over the eigenbasis
            along = inner.diagonal(dim1=-2, dim2=-1) * self._along(of_each)
            return along.sum(-1, keepdim=True) + of_each[..., :1] * trace(G).squeeze(-1)

        if norm is not None:
            by_norm = total(norm.weights)
            gW.add_(W * (2 * cov.share * by_norm * norm.slopes[..., 1:]).unsqueeze(-2))
        if cov.shrinkage is not None:
            by_base = total(L.diagonal(dim1=-2, dim2=-1))
            if norm is not None:
                by_base = by_base + by_norm * spectrum.total(norm.slopes)
            gW.add_(W * (2 * cov.shrinkage / W.shape[-2] * by_base).unsqueeze(-2))
        return gW

    def jvp(self, T: Tensor) -> Tensor:
        """The change of ``f(A)`` with the change ``T`` of ``W``."""
        cov, W, scale, spectrum, (L, norm) = self
        S = W.mT @ T
        inner = self._differences() * (S / scale.unsqueeze(-1))
        half = (W * L[..., :1, 1:]) @ T.mT + W @ inner @ W.mT
        change = cov.share * (half + half.mT)
        of_squares = 2 * S.diagonal(dim1=-2, dim2=-1)
        by_base = torch.zeros_like(scale)
        if cov.shrinkage is not None:
            by_base = cov.shrinkage / W.shape[-2] * of_squares.sum(-1, keepdim=True)
            change = change + self._diagonal(L.diagonal(dim1=-2, dim2=-1), by_base)
        if norm is not None:
            by_norm = cov.share * (norm.slopes[..., 1:] * of_squares).sum(-1, keepdim=True)
            by_norm = by_norm + by_base * spectrum.total(norm.slopes)
            change = change + self._diagonal(norm.weights, by_norm)
        return change

    def _differences(self) -> Tensor:
        r""":math:`\alpha D`, times the scale."""
        L, lengths = self.derivative.L, self.spectrum.squares / self.scale
        return self.cov.share * slopes(L[..., 1:, 1:] - L[..., :1, 1:], lengths.unsqueeze(-1))

    def _along(self, of_each: Tensor) -> Tensor:
        lengths = self.spectrum.squares / self.scale
        return self.cov.share * slopes(of_each[..., 1:] - of_each[..., :1], lengths)

    def _diagonal(self, of_each: Tensor, factor: Tensor) -> Tensor:
        """The matrix with the eigenvalues ``of_each``, times a factor ``(*, 1)``."""
        inner = factor * self._along(of_each) / self.scale
        Y = (self.W * inner.unsqueeze(-2)) @ self.W.mT
        return Y + (factor * of_each[..., :1]).unsqueeze(-1) * identity_like(Y)
