"""The differentiable eigendecomposition."""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.checks import choose
from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.first_order import first_order_only
from covlayers.functional._base.function import compiling, differentiable
from covlayers.functional._base.linalg import symmetric
from covlayers.functional._base.tensors import (
    check_square,
    full_precision,
    symmetrised,
)
from covlayers.functional.backwards import BACKWARDS
from covlayers.functional.backwards._gap_rule import GapRule
from covlayers.functional.backwards.autograd import Autograd
from covlayers.functional.backwards.gaps import ExactGaps
from covlayers.functional.core import Method, SpectralMethod
from covlayers.functional.methods import METHODS, Auto, Eigh
from covlayers.functional.rule import Backward


@full_precision
def eigh(
    A: Tensor, *, method: str | Method = "eigh", backward: str | Backward = "exact_gaps"
) -> tuple[Tensor, Tensor]:
    r"""Eigenvalues and eigenvectors of symmetric matrices.

    .. math:: A = U \operatorname{diag}(\lambda)\, U^\top, \qquad U^\top U = I

    The sign of each eigenvector is fixed: its first entry within 0.1% of the largest magnitude is
    positive. The gradient of eigenvectors explodes as eigenvalues meet; the rules bound
    it, see :class:`~covlayers.functional.GapRule`. At a tie, exact or up to rounding, the gradient
    has no part that turns the two eigenvectors into each other. With ``"exact_gaps"`` and
    ``"autograd"`` second derivatives are right; the surrogates raise.

    Args:
        A: symmetric matrices, of any sign; an asymmetry up to 1% of the largest entry counts as
            rounding.
        method: ``"eigh"`` or a :class:`~covlayers.functional.SpectralMethod`.
        backward: a gap rule, ``"power_iteration"``, or ``"autograd"``. The series rules
            (``"taylor_gaps"``, ``"pade_gaps"``, ``"power_iteration"``) are for positive
            eigenvalues.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: values :math:`(*, n)`, ascending, and vectors :math:`(*, n, n)`, in columns

    Raises:
        InvalidValueError: if ``A`` is not square or far from symmetric, or a name is unknown.
        InvalidTypeError: if ``A`` is not a real floating tensor.
        UnsupportedError: for a method without a spectrum or a rule that is not of gaps, and for a
            second derivative through a surrogate rule.
        ConvergenceError: if the decomposition does not converge, not even in float64.

    Example:
        >>> values, vectors = eigh(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> values
        tensor([1., 3.])

    Reference:
        :cite:t:`ionescu2015matrix`; :cite:t:`wang2019backpropagation`; :cite:t:`wang2021robust`.
    """
    check_square("A", A)
    chosen, rule = check_spectral(method, backward)
    if A.numel() == 0:
        return A.diagonal(dim1=-2, dim2=-1), symmetric(A)
    return decomposed(symmetrised("A", A), chosen, rule)


def check_spectral(
    method: str | Method, backward: str | Backward
) -> tuple[SpectralMethod, GapRule | Autograd]:
    """The spectral method and the rule for eigenvectors that the names stand for."""
    chosen = choose("method", method, METHODS, Method)
    chosen = Eigh() if isinstance(chosen, Auto) else chosen
    rule = choose("backward", backward, BACKWARDS, Backward)
    if not isinstance(chosen, SpectralMethod):
        raise UnsupportedError(
            f"{chosen} computes no eigenvectors, which are wanted here; use method='eigh'."
        )
    if not isinstance(rule, GapRule | Autograd):
        raise UnsupportedError(
            f"{rule} differentiates matrix functions, not eigenvectors; use a gap rule with eigh, "
            "e.g. backward='exact_gaps' or 'taylor_gaps'."
        )
    return chosen, rule


def decomposed(
    A: Tensor, method: SpectralMethod, rule: GapRule | Autograd
) -> tuple[Tensor, Tensor]:
    """The core: eigenvalues and eigenvectors of symmetric float32 or float64 matrices."""
    if isinstance(rule, GapRule):
        values, vectors = _decomposed(A, method, rule)
    else:
        values, vectors, *_ = method.decompose(symmetric(A))
    return values, vectors * _signs(vectors.detach())


def _signs(vectors: Tensor) -> Tensor:
    """The sign of the first entry of each column within 0.1% of its largest, ``(*, 1, n)``."""
    size = vectors.abs()
    large = size >= 0.999 * size.amax(-2, keepdim=True)
    first = vectors.gather(-2, large.byte().argmax(-2, keepdim=True))
    return torch.where(first < 0, -1.0, 1.0).to(vectors.dtype)


class _Decomposed:
    """A spectral method's decomposition with the derivative of a gap rule."""

    @staticmethod
    def forward(A: Tensor, method: SpectralMethod, rule: GapRule) -> tuple[Tensor, Tensor]:
        values, vectors, *_ = method.decompose(A)
        return values, vectors

    @staticmethod
    def keep(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        ctx.rule = inputs[2]
        return output

    @staticmethod
    def backward(ctx: Any, gvalues: Tensor, gvectors: Tensor) -> tuple[Tensor, None, None]:
        values, vectors = ctx.saved_tensors
        with torch.set_grad_enabled(_any_order(ctx.rule)):
            K = ctx.rule.inverse_gaps(values)
            inner = K * (vectors.mT @ gvectors) + torch.diag_embed(gvalues)
            gA = symmetric(vectors @ inner @ vectors.mT)
        return _guard(ctx.rule, gA, gvalues, gvectors, values, vectors), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, Tensor]:
        values, vectors = ctx.saved_tensors
        with torch.set_grad_enabled(_any_order(ctx.rule)):
            rotated = vectors.mT @ symmetric(tangent) @ vectors
            dvectors = vectors @ (ctx.rule.inverse_gaps(values) * rotated)
            dvalues = rotated.diagonal(dim1=-2, dim2=-1)
        sources = (tangent, values, vectors)
        return _guard(ctx.rule, dvalues, *sources), _guard(ctx.rule, dvectors, *sources)


_decomposed = differentiable(_Decomposed)


def _any_order(rule: GapRule) -> bool:
    return isinstance(rule, ExactGaps) and torch.is_grad_enabled()


def _guard(rule: GapRule, result: Tensor, *sources: Tensor) -> Tensor:
    """A surrogate's gradient must not be differentiated."""
    if isinstance(rule, ExactGaps) or compiling():
        return result
    return first_order_only(result, f"{rule} for eigh", *sources)
