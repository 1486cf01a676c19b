r"""A function of a covariance, computed on the side of its positions.

With centred features :math:`X = (x - \mu)/\sqrt M`, :math:`Q` the eigenvectors of
:math:`X^\top X`, :math:`W = X Q` and a share :math:`\alpha = 1 - s` of the covariance that a
shrinkage leaves, :math:`A = \alpha X X^\top + b I` has

.. math:: f(A) = f(b)\, I + \alpha\, W \operatorname{diag}(h)\, W^\top

with the :math:`h` of :mod:`~covlayers.functional.factored`; for the derivative see
:mod:`~covlayers.functional.change_by_positions`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.decomposition import decompose
from covlayers.functional._base.function import differentiable
from covlayers.functional._base.linalg import symmetric
from covlayers.functional.change_by_positions import Change, Regularised
from covlayers.functional.core import MatrixFunction, Method, SpectralMethod
from covlayers.functional.covariances import centered
from covlayers.functional.factored import FactorSpectrum, Value
from covlayers.functional.methods._normalised import NormalisedMethod
from covlayers.functional.rule import Backward
from covlayers.functional.triangle import symmetric_gradient, upper_triangle


class Cell(NamedTuple):
    """A function, by a method and a rule that know both sides."""

    fn: MatrixFunction
    method: Method
    rule: Backward


class Wanted(NamedTuple):
    """The function of which covariance, and what of it."""

    cell: Cell
    cov: Regularised
    triangle: bool = False  # the upper triangle, in place of the matrix
    isometric: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """The same through the matrix ``(*, C, C)``."""
        fn, method, rule = self.cell
        Y = rule.apply((fn,), method, self.cov(x))[0]
        return upper_triangle(Y, self.isometric) if self.triangle else Y


def cell_by_positions(fn: MatrixFunction, method: Method, rule: Backward) -> Cell | None:
    """The cell, if method and rule have formulas for the side of the positions."""
    if not isinstance(method, SpectralMethod | NormalisedMethod):
        return None
    return None if rule.on_factor(fn, method) is None else Cell(fn, method, rule)


def _exact(fn: MatrixFunction, spectrum: FactorSpectrum) -> Value:
    return spectrum.exact(fn)


class _ByPositions:
    """What is wanted, and ``Q``, ``|w|²`` and the values of ``f``, for the derivatives.

    They read ``x`` and ``M x M`` matrices alone. A second derivative goes through the channels.
    """

    @staticmethod
    def forward(x: Tensor, wanted: Wanted) -> tuple[Tensor, ...]:
        (fn, method, _), cov, triangle, isometric = wanted
        z, M = centered(x, cov.center), x.shape[-1]
        own = method.decompose if isinstance(method, SpectralMethod) else decompose
        Q = own((z.mT @ z) / M)[1]
        W = (z @ Q).mul_(M**-0.5)
        squares = W.square().sum(-2)
        spectrum = cov.spectrum(squares, x.shape[-2])
        value_on = method.value_on if isinstance(method, NormalisedMethod) else _exact
        base, h = value_on(fn, spectrum)
        Y = (W * (cov.share * h).unsqueeze(-2)) @ W.mT
        Y.diagonal(dim1=-2, dim2=-1).add_(base)
        f = torch.cat([base, base + spectrum.squares * h], -1)
        return upper_triangle(Y, isometric) if triangle else Y, Q, squares, f

    @staticmethod
    def keep(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        x, ctx.wanted = inputs
        ctx.set_materialize_grads(False)
        _, Q, squares, f = output
        (fn, method, rule), cov, *_ = ctx.wanted
        formula = rule.on_factor(fn, method)
        assert formula is not None
        L, norm = formula(cov.spectrum(squares, x.shape[-2]), f)
        return x, Q, squares, L, *(norm or (None, None))

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, None]:
        if grad is None:
            return None, None
        x, Q, *kept = ctx.saved_tensors
        wanted = ctx.wanted
        if torch.is_grad_enabled():
            return torch.func.vjp(wanted, x)[1](grad)[0], None
        triangle = wanted.triangle
        G = symmetric_gradient(grad, x.shape[-2], wanted.isometric) if triangle else symmetric(grad)
        gW = Change.of(wanted.cov, x, Q, *kept).vjp(G)
        return (gW @ Q.mT) * x.shape[-1] ** -0.5, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> tuple[Tensor, ...]:
        x, Q, squares, L, *norm = ctx.saved_tensors
        cov, triangle, isometric = ctx.wanted[1:]
        own = Change.of(cov, x, Q, squares, L, *norm).jvp(cov.rotated(tangent, Q))
        own = upper_triangle(own, isometric) if triangle else own
        others = (Q, squares, L[..., 0, :])  # shaped as the other outputs
        return own, *[torch.zeros_like(one) for one in others]


_by_positions = differentiable(_ByPositions)


def by_positions(x: Tensor, wanted: Wanted) -> Tensor:
    """The core: what is wanted of float32 or float64 features ``x (*, C, M)``."""
    Y: Tensor = _by_positions(x, wanted)[0]
    return Y
