"""The gradient of another method's steps."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from covlayers.functional._base.checks import choose
from covlayers.functional.core import Fns, MatrixFunction, Method
from covlayers.functional.methods import METHODS
from covlayers.functional.methods.newton_schulz import NewtonSchulz
from covlayers.functional.rule import Rule
from covlayers.functional.saved import Saved


@dataclass(frozen=True)
class Unrolled(Rule):
    r"""Forward by one method, backward through the steps of another, recomputed.

    .. math:: g_A = \Bigl( \frac{\partial m(A)}{\partial A} \Bigr)^{\!\top} g_Y

    with :math:`m(A)` the function as the other method computes it.
    ``Unrolled(NewtonSchulz(3))`` under an exact forward is SVD-Newton: an accurate value with the
    bounded gradient of a few iterations.

    Args:
        method: the method to differentiate, an object or its name.

    Raises:
        InvalidValueError: for an unknown name.
        InvalidTypeError: for an object that is no method.
        UnsupportedError: for a function that the method cannot compute, and for a second
            derivative.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, method="eigh", backward=Unrolled(NewtonSchulz(3))).sum().backward()

    Reference:
        :cite:t:`song2021approximate`.
    """

    method: str | Method = field(default_factory=lambda: NewtonSchulz(3))

    def __post_init__(self) -> None:
        choose("method", self.method, METHODS, Method)

    def check(self, fns: Fns) -> None:
        choose("method", self.method, METHODS, Method).check(fns)

    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        return torch.func.vjp(self._function(fn, saved), saved.input)[1](grad)[0]

    def jvp(self, fn: MatrixFunction, saved: Saved, tangent: Tensor) -> Tensor:
        run = self._function(fn, saved)
        return torch.func.jvp(run, (saved.input,), (tangent,))[1]

    def _function(self, fn: MatrixFunction, saved: Saved) -> Callable[[Tensor], Tensor]:
        method = choose("method", self.method, METHODS, Method).select((fn,), saved.input)
        return lambda A: method.steps((fn,), A)[0]
