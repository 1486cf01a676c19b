"""The derivative of the steps themselves."""

from dataclasses import dataclass

from torch import Tensor

from covlayers.functional.core import Fns, Method
from covlayers.functional.rule import Backward


@dataclass(frozen=True)
class Autograd(Backward):
    """Differentiate through the method's own steps, to any order.

    Right for what the method computes, and as heavy: every step is kept. The backward pass is
    PyTorch's own, to be called outside autocast as PyTorch asks. With :class:`Eigh` it is
    PyTorch's own derivative, infinite at repeated eigenvalues. Through :class:`PolarExpress` the
    first derivative is good to about 1e-10 in float64 and the second to 1e-5; :class:`Smith` is
    exact, and lighter.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, method="newton_schulz", backward=Autograd()).sum().backward()
    """

    def apply(self, fns: Fns, method: Method, A: Tensor) -> tuple[Tensor, ...]:
        return method.forward(fns, A)[: len(fns)]
