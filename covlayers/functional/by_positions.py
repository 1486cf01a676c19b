r"""A function of a covariance, computed on the side of its positions.

With centred features :math:`X = (x - \mu)/\sqrt M`, :math:`Q` the eigenvectors of
:math:`X^\top X`, and the columns :math:`u_i` of :math:`X Q` at length one,

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
from covlayers.functional._base.linalg import identity_like, nonzero, symmetric
from covlayers.functional._base.onnx_export import exporting_to_onnx
from covlayers.functional.backwards.autograd import Autograd
from covlayers.functional.by_products import Products, by_products
from covlayers.functional.centered_product import centered, centered_product, few_positions
from covlayers.functional.change_by_positions import directions, gradients
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.factored import Derivative, FactorSpectrum, ThroughNorm
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
    """Which function of the covariance, and what of it."""

    cell: Cell
    center: bool = True
    triangle: bool = False  # the upper triangle, in place of the matrix
    isometric: bool = False

    def __call__(self, x: Tensor, share: float | Tensor, base: float | Tensor) -> Tensor:
        """The same through the matrix ``(*, C, C)``."""
        fn, method, rule, _ = self.cell
        share, base = (one[..., None] if isinstance(one, Tensor) else one for one in (share, base))
        cov = centered_product(x, None, self.center)
        Y = rule.apply((fn,), method, share * cov + base * identity_like(cov))[0]
        return upper_triangle(Y, self.isometric) if self.triangle else Y


def cell_by_positions(fn: MatrixFunction, method: Method, rule: Backward) -> Cell | None:
    """The cell, if method and rule have formulas for the side of the positions."""
    # Another spectral method may change the eigenvalues that it finds.
    if not isinstance(method, Eigh | NormalisedMethod):
        return None
    return None if rule.on_factor(fn, method) is None else Cell(fn, method, rule)


def share_and_base(
    x: Tensor, center: bool, eps: float, shrinkage: float | None
) -> tuple[float, float | Tensor]:
    r"""The :math:`\alpha` and :math:`b` of a shrinkage and an eps, the latter maybe ``(*, 1)``."""
    if shrinkage is None:
        return 1.0, eps
    # var warns where there is nothing
    squares = x.var(-1, correction=0) if center and x.numel() else x.square().mean(-1)
    return 1.0 - shrinkage, eps + shrinkage * squares.mean(-1, keepdim=True)


class _ByPositions:
    """What is wanted; for the derivatives ``Q``, the lengths of ``X Q`` and the values of ``f``.

    They read ``x`` and ``M x M`` matrices alone. Second derivatives go through the channels.
    """

    @staticmethod
    def forward(
        x: Tensor, share: float | Tensor, base: float | Tensor, wanted: Wanted
    ) -> tuple[Tensor, ...]:
        (fn, method, *_), center, triangle, isometric = wanted
        z = centered(x, center)
        # In float64 no direction is mixed with a longer one; on a CPU that costs next to nothing.
        wide = z.double() if z.device.type == "cpu" else z
        squares, Q, _ = decompose(wide.mT @ wide)
        Q, size = Q.to(z.dtype), nonzero(squares[..., -1:], z.dtype).sqrt().to(z.dtype)
        U, lengths = directions(z, Q, size)
        lengths = lengths * x.shape[-1] ** -0.5  # of the columns of X Q
        spectrum = FactorSpectrum.of(lengths, share, base, x.shape[-2])
        if isinstance(method, NormalisedMethod):
            f = method.values_on(fn, spectrum)
        else:
            f = spectrum.exact(fn)
        own = f[..., :1]
        Y = (U * (f[..., 1:] - own).unsqueeze(-2)) @ U.mT
        Y.diagonal(dim1=-2, dim2=-1).add_(own)
        return upper_triangle(Y, isometric) if triangle else Y, Q, lengths, f

    @staticmethod
    def keep(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        x, share, base, ctx.wanted = inputs
        ctx.set_materialize_grads(False)
        _, Q, lengths, f = output
        fn, method, rule, _ = ctx.wanted.cell
        formula = rule.on_factor(fn, method)
        assert formula is not None
        L, norm = formula(FactorSpectrum.of(lengths, share, base, x.shape[-2]), f)
        ctx.numbers = [None if isinstance(one, Tensor) else one for one in (share, base)]
        tensors = [one if isinstance(one, Tensor) else None for one in (share, base)]
        return x, *tensors, Q, lengths, L, *(norm or (None, None))

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return None, None, None, None
        x, *tensors, Q, lengths, L, weights, slopes = ctx.saved_tensors
        share, base = (
            one if number is None else number
            for one, number in zip(tensors, ctx.numbers, strict=True)
        )
        wanted, C = ctx.wanted, x.shape[-2]
        if torch.is_grad_enabled():
            scales = [torch.as_tensor(one).to(x) for one in (share, base)]
            found = torch.func.vjp(wanted, x, *scales)[1](grad)
            kept = [None if one is None else g for one, g in zip(tensors, found[1:], strict=True)]
            return found[0], *kept, None
        G = symmetric_gradient(grad, C, wanted.isometric) if wanted.triangle else symmetric(grad)
        U = directions(centered(x, wanted.center), Q, nonzero(lengths.amax(-1, keepdim=True)))[0]
        spectrum = FactorSpectrum.of(lengths, share, base, C)
        derivative = Derivative(L, None if weights is None else ThroughNorm(weights, slopes))
        gW, gshare, gbase = gradients(
            G, U, lengths, share, spectrum, derivative, ctx.needs_input_grad[1:3]
        )
        return (gW @ Q.mT) * x.shape[-1] ** -0.5, gshare, gbase, None


_by_positions = differentiable(_ByPositions)


def by_positions(x: Tensor, share: float | Tensor, base: float | Tensor, wanted: Wanted) -> Tensor:
    r"""The core: what is wanted of float32 or float64 features ``x (*, C, M)``.

    Args:
        x: the features.
        share: :math:`\alpha`, a number or ``(*, 1)``.
        base: :math:`b`, a number or ``(*, 1)``.
        wanted: the function, and what of it.
    """
    products = wanted.cell.products
    if x.device.type != "cpu" and products is not None and not isinstance(base, Tensor):
        by_kernels = share == 1.0 and few_positions(x, "auto", products, base)
        if by_kernels:
            return by_products(x, products, base, *wanted[1:], lambda x: wanted(x, 1.0, base))
    # A tangent may be differentiated again, as the steps of a matrix can be. The compiler fixes the
    # batch size where it traces the derivative of the steps on eigenvalues. ONNX has no
    # eigendecomposition.
    traced = compiling() and (isinstance(wanted.cell.rule, Autograd) or exporting_to_onnx(x))
    if traced or in_forward_mode() or x.shape[-2] == 0:
        return wanted(x, share, base)
    Y: Tensor = _by_positions(x, share, base, wanted)[0]
    return Y
