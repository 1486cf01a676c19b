r"""The matrix functions of the library, as functions of the eigenvalues.

Divided differences are written without cancellation. With :math:`m = \sqrt{ab}` and
:math:`t = \tfrac12 \log(a/b)`, so that :math:`a = m e^t` and :math:`b = m e^{-t}`,

.. math:: \frac{a^p - b^p}{a - b} = m^{p-1} \frac{\sinh pt}{\sinh t}, \qquad
          \frac{\log a - \log b}{a - b} = \frac{t}{m \sinh t},

smooth through :math:`a = b`. For the roots they simplify to the forms used below.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from covlayers.functional.core import MatrixFunction


@dataclass(frozen=True)
class SquareRoot(MatrixFunction):
    r""":math:`\lambda^{1/2}`."""

    name = "sqrtm"
    exponent = 0.5
    is_root = True
    zero_at_zero = True
    f = staticmethod(torch.sqrt)  # type: ignore[assignment]  # torch's function as the method

    def df(self, values: Tensor) -> Tensor:
        return 0.5 * values.rsqrt()

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        return (a.sqrt() + b.sqrt()).reciprocal_()

    def lyapunov_equation(
        self, output: Tensor, grad: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Y Y = A gives Y dY + dY Y = dA, whose operator is its own adjoint.
        return output / scale, grad / scale

    def lyapunov_factor(self, a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        return 1 / scale


@dataclass(frozen=True)
class InverseSquareRoot(MatrixFunction):
    r""":math:`\lambda^{-1/2}`."""

    name = "invsqrtm"
    exponent = -0.5
    is_root = True
    f = staticmethod(torch.rsqrt)  # type: ignore[assignment]  # torch's function as the method

    def df(self, values: Tensor) -> Tensor:
        return -0.5 * values.rsqrt() / values

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        return (a * b.sqrt()).add_(a.sqrt() * b).neg_().reciprocal_()

    def lyapunov_equation(
        self, output: Tensor, grad: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Z Z = A^{-1} gives Z dZ + dZ Z = -Z² dA Z². Scaled first, as Z⁴ may overflow.
        Z = output / scale
        inverse = Z @ Z
        return Z, -inverse @ (scale**3 * grad) @ inverse

    def lyapunov_factor(self, a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
        return -((a * b) ** 2) * scale**3


@dataclass(frozen=True)
class Logarithm(MatrixFunction):
    r""":math:`\log \lambda`."""

    name = "logm"
    exponent = 0.0
    f = staticmethod(torch.log)  # type: ignore[assignment]  # torch's function as the method

    def df(self, values: Tensor) -> Tensor:
        return 1 / values

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        mean, t = _centre(a, b)
        return torch.where(t == 0, 1.0, t / torch.sinh(_apart(t))) / mean


@dataclass(frozen=True)
class Power(MatrixFunction):
    r""":math:`\lambda^p`."""

    exponent: float
    zero_at_zero: bool = field(init=False, repr=False, compare=False)

    name = "powm"

    def __post_init__(self) -> None:
        # Decided here: a compiled graph would trace everything twice to compare a float.
        object.__setattr__(self, "zero_at_zero", self.exponent > 0)

    def f(self, values: Tensor) -> Tensor:
        return values**self.exponent

    def df(self, values: Tensor) -> Tensor:
        return self.exponent * values ** (self.exponent - 1)

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        mean, t = _centre(a, b)
        ratio = torch.sinh(self.exponent * t) / torch.sinh(_apart(t))
        return torch.where(t == 0, self.exponent, ratio) * mean ** (self.exponent - 1)


def _centre(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return a.sqrt() * b.sqrt(), (a / b).log() / 2


def _apart(t: Tensor) -> Tensor:
    return torch.where(t == 0, 1.0, t)


SQRT = SquareRoot()
INVSQRT = InverseSquareRoot()
LOG = Logarithm()
ROOTS = (SQRT, INVSQRT)


def power(p: float) -> MatrixFunction:
    """The power function; the two square roots are themselves."""
    return {0.5: SQRT, -0.5: INVSQRT}.get(p, Power(p))
