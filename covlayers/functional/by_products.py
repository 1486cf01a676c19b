r"""The root of a covariance by products on the side of its positions, for a GPU.

No eigendecomposition: with centred features :math:`z` and :math:`K = \tfrac1M z^\top z`,

.. math:: f\bigl(\tfrac1M z z^\top + b I\bigr) = f(b)\, I + \tfrac1M z\, T z^\top, \qquad
          T = f[b, K + b I],

and the divided difference :math:`T` follows from products of :math:`M \times M` matrices that fit
on chip, as does the derivative :math:`g_z = \tfrac2M (G z\, L + z R)`. For the formulas see
:mod:`~covlayers.functional._features.root`, :mod:`~covlayers.functional._features.newton_schulz`
and :mod:`~covlayers.functional._features.series`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.function import differentiable
from covlayers.functional._features import newton_schulz, root, series
from covlayers.functional._features.products import (
    channels_from_positions,
    gradient_from_positions,
    gradient_times_features,
)
from covlayers.functional._iterations.strided import flat
from covlayers.functional.backwards.autograd import Autograd
from covlayers.functional.backwards.lyapunov import Lyapunov
from covlayers.functional.backwards.smith import Smith
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.functions import SQRT
from covlayers.functional.methods import Auto, NewtonSchulz, Pade, PolarExpress, Taylor
from covlayers.functional.rule import Backward

LOWER, DOUBLINGS = (8 * torch.finfo(torch.float32).eps) ** 0.5, 7
"""As :class:`Smith` has them in float32."""

Factor = tuple[Tensor, Tensor]
"""``T``, ``(N, M, M)``, and ``f(b)``, ``(N,)``."""


class Products(ABC):
    """A root by a method and a rule, as products on the side of the positions."""

    method: Method
    rule: Backward

    @abstractmethod
    def factor(self, x: Tensor, b: float, center: bool) -> Factor:
        """Of features ``(N, C, M)``."""

    @abstractmethod
    def gradient(
        self, x: Tensor, P: Tensor, of: Factor, grad: Tensor, b: float, center: bool
    ) -> tuple[Tensor, Tensor]:
        """``L`` and ``R``, from ``P = G z`` and the gradient ``grad`` that ``G`` stands for."""


@dataclass(frozen=True)
class ExactRoot(Products):
    """The exact root, and its exact derivative."""

    method = PolarExpress()
    rule = Smith()

    def factor(self, x: Tensor, b: float, center: bool) -> Factor:
        steps = [*chain.from_iterable(self.method._quintics[x.dtype])]
        T, y = root.root_from_positions(x, b, steps, center)
        return T, y

    def gradient(
        self, x: Tensor, P: Tensor, of: Factor, grad: Tensor, b: float, center: bool
    ) -> tuple[Tensor, Tensor]:
        return of[0], root.gradient_of_root(x, P, of[0], b, center, LOWER, DOUBLINGS)


@dataclass(frozen=True)
class Steps(Products):
    """Newton-Schulz, differentiated through its steps."""

    method: NewtonSchulz
    rule: Autograd

    def factor(self, x: Tensor, b: float, center: bool) -> Factor:
        T, y = newton_schulz.newton_schulz_from_positions(x, b, self.method.iterations, center)
        return T, y

    def gradient(
        self, x: Tensor, P: Tensor, of: Factor, grad: Tensor, b: float, center: bool
    ) -> tuple[Tensor, Tensor]:
        steps, triangle = self.method.iterations, grad.dim() == 2
        T, run = of[0], newton_schulz.gradient_of_newton_schulz
        return T, run(x, P, grad, T, b, steps, center, triangle)


@dataclass(frozen=True)
class Approximant(Products):
    """Taylor's or Padé's approximant, with the published gradient."""

    method: Taylor | Pade
    rule: Lyapunov

    def factor(self, x: Tensor, b: float, center: bool) -> Factor:
        if isinstance(self.method, Pade):
            T, y = series.pade_from_positions(x, b, self.method._poles, center)
        else:
            T, y = series.taylor_from_positions(x, b, self.method._series[0.5], center)
        return T, y

    def gradient(
        self, x: Tensor, P: Tensor, of: Factor, grad: Tensor, b: float, center: bool
    ) -> tuple[Tensor, Tensor]:
        L, R = series.sign_from_positions(x, P, *of, b, center, self.rule.iterations)
        return L, R


def products_of(fn: MatrixFunction, method: Method, rule: Backward | None) -> Products | None:
    """The products for a method and a rule, None for the method's own; None if there are none."""
    if fn != SQRT:
        return None
    if isinstance(method, Auto) and rule is None:
        return ExactRoot()
    if isinstance(method, NewtonSchulz) and isinstance(rule, Autograd | None):
        return Steps(method, Autograd())
    if isinstance(method, Taylor | Pade) and isinstance(rule, Lyapunov):
        return Approximant(method, rule)
    return None


class _ByProducts:
    """A matrix or its triangle, then ``T`` and ``f(b)``; ``x`` and these two are kept."""

    @staticmethod
    def forward(
        x: Tensor,
        products: Products,
        b: float,
        center: bool,
        triangle: bool,
        isometric: bool,
        plain: Any,
    ) -> tuple[Tensor, ...]:
        T, y = products.factor(x, b, center)
        return channels_from_positions(x, T, y, center, triangle, isometric), T, y

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, *ctx.options = inputs
        ctx.set_materialize_grads(False)
        return x, *output[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        rest = (None,) * 6
        if grad is None:
            return None, *rest
        x, *of = ctx.saved_tensors
        products, b, center, triangle, isometric, plain = ctx.options
        if torch.is_grad_enabled():
            return torch.func.vjp(plain, x)[1](grad)[0], *rest
        P = gradient_times_features(grad, x, center, triangle, isometric)
        L, R = products.gradient(x, P, of, grad, b, center)
        return gradient_from_positions(x, P, L, R, center), *rest


_by_products = differentiable(_ByProducts)


def by_products(
    x: Tensor,
    products: Products,
    b: float,
    center: bool,
    triangle: bool,
    isometric: bool,
    plain: Any,
) -> Tensor:
    """The core, for features ``(*, C, M)`` that the kernels serve.

    Args:
        x: the features.
        products: how the root is computed.
        b: added to the diagonal of the covariance, above 0.
        center: whether to subtract the means.
        triangle: whether to return the upper triangle, in place of the matrix.
        isometric: whether to preserve the Frobenius norm in it.
        plain: the same in plain PyTorch, for second derivatives.
    """
    Y: Tensor = _by_products(flat(x), products, b, center, triangle, isometric, plain)[0]
    return Y if x.dim() == 3 else Y.view(*x.shape[:-2], *Y.shape[1:])
