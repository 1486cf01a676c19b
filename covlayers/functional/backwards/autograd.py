"""The derivative of the steps themselves."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.linalg import symmetric
from covlayers.functional.backwards.unrolled import Unrolled
from covlayers.functional.core import Fns, MatrixFunction, Method
from covlayers.functional.methods._normalised import NormalisedMethod
from covlayers.functional.methods._through_spectrum import ThroughSpectrum
from covlayers.functional.rule import Backward
from covlayers.functional.saved import Saved


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
        if isinstance(method, ThroughSpectrum):
            return _OfSpectrum(method.method).apply(fns, method, A)
        return method.forward(fns, symmetric(A))[: len(fns)]


@dataclass(frozen=True)
class _OfSpectrum(Unrolled):
    """The derivative of the steps where the spectrum is known; by the steps for higher orders."""

    reads: ClassVar[tuple[str, ...]] = ("A", "spectrum")

    def any_order(self, fn: MatrixFunction) -> bool:
        return True

    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return super().vjp(fn, saved, grad)
        assert isinstance(self.method, NormalisedMethod)
        values, vectors = saved.known_spectrum
        rotated = vectors.mT @ grad @ vectors
        inner = ThroughSpectrum(self.method).inner_gradient(fn, values, rotated)
        return vectors @ inner @ vectors.mT
