r"""A function of a covariance, computed on the side of its positions.

With centred features :math:`X = (x - \mu)/\sqrt M`, :math:`Q` the eigenvectors of
:math:`X^\top X`, the columns :math:`u_i` of :math:`X Q` at length one, and a share
:math:`\alpha = 1 - s` of the covariance that a shrinkage leaves,

.. math:: A = \alpha X X^\top + b I, \qquad f(A) = f(b)\, I + U \operatorname{diag}(f(v) - f(b))\,
          U^\top

with the :math:`v` of :mod:`~covlayers.functional.factored`; for the derivative see
:mod:`~covlayers.functional.change_by_positions`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.decomposition import decompose
from covlayers.functional._base.function import compiling, differentiable, in_forward_mode
from covlayers.functional._base.linalg import nonzero, symmetric
from covlayers.functional.backwards.autograd import Autograd
from covlayers.functional.by_products import Products, by_products
from covlayers.functional.change_by_positions import Change, Regularised, directions
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.covariances import centered, few_positions
from covlayers.functional.methods import Eigh
from covlayers.functional.methods._normalised import NormalisedMethod
from covlayers.functional.rule import Backward
from covlayers.functional.triangle import symmetric_gradient, upper_triangle


class Cell(NamedTuple):
    """A function, by a method and a rule that know both sides."""

    fn: MatrixFunction
    method: Method
    rule: Backward
    products: Products | None = None  # in place of both on an accelerator


class Wanted(NamedTuple):
    """The function of which covariance, and what of it."""

    cell: Cell
    cov: Regularised
    triangle: bool = False  # the upper triangle, in place of the matrix
    isometric: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """The same through the matrix ``(*, C, C)``."""
        fn, method, rule, _ = self.cell
        Y = rule.apply((fn,), method, self.cov(x))[0]
        return upper_triangle(Y, self.isometric) if self.triangle else Y


def cell_by_positions(fn: MatrixFunction, method: Method, rule: Backward) -> Cell | None:
    """The cell, if method and rule have formulas for the side of the positions."""
    # Another spectral method may change the eigenvalues that it finds.
    if not isinstance(method, Eigh | NormalisedMethod):
        return None
    return None if rule.on_factor(fn, method) is None else Cell(fn, method, rule)


class _ByPositions:
    """What is wanted; for the derivatives ``Q``, the lengths of ``X Q`` and the values of ``f``.

    They read ``x`` and ``M x M`` matrices alone. Second derivatives go through the channels.
    """

    @staticmethod
    def forward(x: Tensor, wanted: Wanted) -> tuple[Tensor, ...]:
        (fn, method, *_), cov, triangle, isometric = wanted
        z = centered(x, cov.center)
        # In float64 no direction is mixed with a longer one; on a CPU that costs next to nothing.
        wide = z.double() if z.device.type == "cpu" else z
        squares, Q, _ = decompose(wide.mT @ wide)
        Q, size = Q.to(z.dtype), nonzero(squares[..., -1:], z.dtype).sqrt().to(z.dtype)
        U, lengths = directions(z, Q, size)
        lengths = lengths * x.shape[-1] ** -0.5  # of the columns of X Q
        spectrum = cov.spectrum(lengths, x.shape[-2])
        if isinstance(method, NormalisedMethod):
            f = method.values_on(fn, spectrum)
        else:
            f = spectrum.exact(fn)
        base = f[..., :1]
        Y = (U * (f[..., 1:] - base).unsqueeze(-2)) @ U.mT
        Y.diagonal(dim1=-2, dim2=-1).add_(base)
        return upper_triangle(Y, isometric) if triangle else Y, Q, lengths, f

    @staticmethod
    def keep(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        x, ctx.wanted = inputs
        ctx.set_materialize_grads(False)
        _, Q, lengths, f = output
        (fn, method, rule, _), cov, *_ = ctx.wanted
        formula = rule.on_factor(fn, method)
        assert formula is not None
        L, norm = formula(cov.spectrum(lengths, x.shape[-2]), f)
        return x, Q, lengths, L, *(norm or (None, None))

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


_by_positions = differentiable(_ByPositions)


def by_positions(x: Tensor, wanted: Wanted) -> Tensor:
    """The core: what is wanted of float32 or float64 features ``x (*, C, M)``."""
    cell, (center, eps, shrinkage), triangle, isometric = wanted
    products = cell.products
    if x.device.type != "cpu" and few_positions(x, "auto", products, eps, shrinkage):
        assert products is not None
        return by_products(x, products, eps, center, triangle, isometric, wanted)
    # A tangent may be differentiated again, as the steps of a matrix can be. The compiler fixes the
    # batch size where it traces the derivative of the steps on eigenvalues.
    traced = compiling() and isinstance(wanted.cell.rule, Autograd)
    if traced or in_forward_mode() or x.shape[-2] == 0:
        return wanted(x)
    Y: Tensor = _by_positions(x, wanted)[0]
    return Y
