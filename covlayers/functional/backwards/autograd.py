"""The derivative of the steps themselves."""

from dataclasses import dataclass

from torch import Tensor

from covlayers.functional.core import Fns, MatrixFunction, Method
from covlayers.functional.factored import FactorFormula
from covlayers.functional.methods._normalised import NormalisedMethod
from covlayers.functional.rule import Backward


@dataclass(frozen=True)
class Autograd(Backward):
    r"""Differentiate through the method's own steps, to any order.

    .. math:: g_A = J_1^\top \cdots J_N^\top\, g_Y

    with :math:`J_k` the Jacobian of step :math:`k`, the last applied first. Right for what the
    method computes, and as heavy: every step is kept. The backward pass is PyTorch's own, to be
    called outside autocast as PyTorch asks. With :class:`Eigh` it is PyTorch's own derivative,
    infinite at repeated eigenvalues. Through :class:`PolarExpress` the first derivative is good to
    about 1e-10 in float64 and the second to 1e-5; :class:`Smith` is exact, and lighter.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, method="newton_schulz", backward=Autograd()).sum().backward()

    Reference:
        As in :cite:t:`li2018towards` and :cite:t:`huang2019iterative`.
    """

    def apply(self, fns: Fns, method: Method, A: Tensor) -> tuple[Tensor, ...]:
        return method.steps(fns, A)

    def on_factor(self, fn: MatrixFunction, method: Method) -> FactorFormula | None:
        if not isinstance(method, NormalisedMethod):
            return None
        return lambda spectrum, _: method.derivative_on(fn, spectrum.values, spectrum.total)
