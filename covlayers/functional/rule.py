"""How a matrix function is differentiated: through the steps, or by a rule that replaces them.

Every derivative here is self-adjoint: a function of a symmetric matrix has a symmetric Jacobian, so
one formula serves the vector-Jacobian and the Jacobian-vector product.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from covlayers.functional._base import tuning
from covlayers.functional._base.decomposition import Spectrum
from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.first_order import first_order_only
from covlayers.functional._base.function import compiling, differentiable, recorded, under_func
from covlayers.functional._base.linalg import cast, eigenvalues_in, frobenius_norm, symmetric
from covlayers.functional.core import Fns, MatrixFunction, Method
from covlayers.functional.factored import FactorFormula
from covlayers.functional.saved import Saved

Vjp = Callable[[Tensor], Tensor]
Grads = Sequence[tuple[MatrixFunction, Tensor]]
Formula = Callable[[MatrixFunction, Saved, Tensor], Tensor]


class Backward(ABC):
    """How a matrix function is differentiated.

    Example:
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, backward=Loewner()).trace().backward()
    """

    def check(self, fns: Fns) -> None:
        """Raise :class:`UnsupportedError` if one of ``fns`` cannot be differentiated so."""
        return

    @abstractmethod
    def apply(self, fns: Fns, method: Method, A: Tensor) -> tuple[Tensor, ...]:
        """For each of ``fns`` an output ``(*, n, n)``: ``method`` on ``A``, as autograd sees it."""

    def with_vjp(self, fn: MatrixFunction, method: Method, A: Tensor) -> tuple[Tensor, Vjp]:
        """``fn(A)`` by ``method``, ``(*, n, n)``, and its backward pass for symmetric gradients."""
        return recorded(lambda A: self.apply((fn,), method, A)[0], A)

    def on_factor(self, fn: MatrixFunction, method: Method) -> FactorFormula | None:
        """How ``fn`` by ``method`` changes, from its values ``(*, 1 + M)``; None if unknown."""
        return None


class Rule(Backward):
    """A formula for the gradient, in place of the derivative of the steps.

    ``reads`` names what is ``saved`` for it: ``"A"``, ``"norm"``, ``"outputs"``, their
    ``"eigenvalues"`` if known, ``"spectrum"``, or else ``A`` for it, or ``"known_spectrum"``.

    Example:
        >>> class Straight(Rule):
        ...     def vjp(self, fn, saved, grad):
        ...         return grad
    """

    reads: ClassVar[tuple[str, ...]] = ("A",)

    @abstractmethod
    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        """The gradient for ``A`` from ``grad``, for ``fn(A)``: both symmetric, ``(*, n, n)``."""

    def vjp_of_all(self, saved: Saved, grads: Grads) -> Tensor:
        """The symmetric gradient for ``A``, ``(*, n, n)``, from ``grads``, symmetric or not."""
        terms = [_differentiate(self, self.vjp, fn, saved, symmetric(grad)) for fn, grad in grads]
        return symmetric(sum(terms[1:], terms[0]))

    def jvp(self, fn: MatrixFunction, saved: Saved, tangent: Tensor) -> Tensor:
        """The tangent of ``fn(A)`` from ``tangent``, ``(*, n, n)``: the Jacobian is symmetric."""
        return self.vjp(fn, saved, tangent)

    def any_order(self, fn: MatrixFunction) -> bool:
        """Whether ``vjp`` for ``fn`` is itself differentiable, and rightly."""
        return False

    def serves(self, fn: MatrixFunction) -> bool:
        """Whether the rule has a formula for ``fn``."""
        return True

    def computes(self, fns: Fns) -> Fns:
        """The functions to compute so that the rule can read them: ``fns``, then maybe more."""
        return fns

    def check(self, fns: Fns) -> None:
        for fn in fns:
            if not self.serves(fn):
                raise UnsupportedError(
                    f"{self} has no formula for {fn.name}; use backward='loewner', which serves "
                    "every matrix function."
                )

    def apply(self, fns: Fns, method: Method, A: Tensor) -> tuple[Tensor, ...]:
        tracked = A.requires_grad and torch.is_grad_enabled()
        traced = compiling() or under_func() or forward_ad._current_level >= 0
        link = tracked and not traced and A.shape[-1] >= tuning.LINKED and "outputs" in self.reads
        computed = self.computes(fns) if tracked or traced else fns
        return _ruled(A, computed, method, self, link)[: len(fns)]

    def with_vjp(self, fn: MatrixFunction, method: Method, A: Tensor) -> tuple[Tensor, Vjp]:
        fns = self.computes((fn,))
        outputs, spectrum = method.forward(fns, A)
        dtype = A.dtype if spectrum is None else spectrum.values.dtype
        by_name = {one.name: cast(Y, dtype) for one, Y in zip(fns, outputs, strict=True)}
        norm = frobenius_norm(A) if "norm" in self.reads else None
        saved = Saved(A, by_name, spectrum, dtype, norm)
        return outputs[0], lambda grad: cast(self.vjp(fn, saved, cast(grad, dtype)), A.dtype)


@dataclass  # not frozen: a compiled graph on torch 2.11 builds no frozen one
class Applied:
    """One function by a method, with the derivative of a rule: from matrices to matrices."""

    fn: MatrixFunction
    method: Method
    rule: Backward

    def __call__(self, A: Tensor) -> Tensor:
        """The core: ``fn`` of symmetric float32 or float64 matrices ``(*, n, n)``."""
        if A.numel() == 0:
            return symmetric(A)
        return self.rule.apply((self.fn,), self.method, A)[0]

    def with_vjp(self, A: Tensor) -> tuple[Tensor, Vjp]:
        """``fn(A)``, and its vector-Jacobian product for symmetric gradients, with no graph."""
        return self.rule.with_vjp(self.fn, self.method, A)


class _Ruled:
    """The method's outputs, then its spectrum where the rule reads it, with the rule's gradient.

    If ``link``, zeros come between the two that have the outputs' derivatives. They take no
    memory, and are kept for a second derivative; the spectrum has the outputs' values.
    """

    @staticmethod
    def forward(A: Tensor, fns: Fns, method: Method, rule: Rule, link: bool) -> tuple[Tensor, ...]:
        outputs, spectrum = method.forward(fns, A)
        if spectrum is None or not {"spectrum", "known_spectrum"} & {*rule.reads}:
            return outputs
        links = [Y.new_zeros(()).expand_as(Y) for Y in outputs] if link else ()
        return *outputs, *links, *[part for part in spectrum if part is not None]

    @staticmethod
    def keep(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> tuple[Tensor | None, ...]:
        A, ctx.fns, _, ctx.rule, link = inputs
        ctx.dtype = A.dtype
        ctx.set_materialize_grads(False)
        number, reads = len(ctx.fns), ctx.rule.reads
        outputs, spectrum = output[:number], output[number:]
        ctx.linked = link and len(spectrum) > 0
        values: tuple[Tensor | None, ...] = (None,) * number
        kept = outputs if "outputs" in reads else values
        if ctx.linked:
            links, spectrum = spectrum[:number], spectrum[number:]
            if len(spectrum) == 2:  # without a residual, the spectrum has the values
                kept = links
                if "eigenvalues" in reads:
                    values = tuple([eigenvalues_in(spectrum[1], Y) for Y in outputs])
        missing = "spectrum" in reads and len(spectrum) == 0
        norm = frobenius_norm(A.detach()) if "norm" in reads else None
        return (A if "A" in reads or missing else None, norm, *kept, *values, *spectrum)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None, None, None]:
        saved = _saved(ctx)
        pairs = zip(ctx.fns * (1 + ctx.linked), grads, strict=False)
        given = [(fn, grad.to(saved.dtype)) for fn, grad in pairs if grad is not None]
        total = ctx.rule.vjp_of_all(saved, given).to(ctx.dtype) if given else None
        return total, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        saved = _saved(ctx)
        tangent = symmetric(tangent.to(saved.dtype))
        roots = [_differentiate(ctx.rule, ctx.rule.jvp, fn, saved, tangent) for fn in ctx.fns]
        # The tangent of the spectrum, never used, marks what depends on A: a second derivative
        # through a surrogate is noticed.
        marks = [torch.zeros_like(part) for part in saved.known_spectrum or () if part is not None]
        return *[root.to(ctx.dtype) for root in roots], *marks


_ruled = differentiable(_Ruled)


def _saved(ctx: Any) -> Saved:
    A, norm, *rest = ctx.saved_tensors
    number = len(ctx.fns)
    spectrum = Spectrum(*rest[2 * number :]) if len(rest) > 2 * number else None
    # a method may decompose in float64: then the rule computes in float64 too
    dtype = spectrum.values.dtype if spectrum else ctx.dtype
    outputs, eigenvalues = [
        {fn.name: one.to(dtype) for fn, one in zip(ctx.fns, some, strict=False) if one is not None}
        for some in (rest, rest[number:])
    ]
    return Saved(A, outputs, spectrum, dtype, norm, eigenvalues)


def _differentiate(
    rule: Rule, formula: Formula, fn: MatrixFunction, saved: Saved, direction: Tensor
) -> Tensor:
    """The rule's formula, which raises when differentiated again unless it is right to do so."""
    if rule.any_order(fn) or compiling():  # a compiled backward pass is not differentiated again
        return formula(fn, saved, direction)
    with torch.no_grad():
        result = formula(fn, saved, direction)
    return first_order_only(result, f"{rule} for {fn.name}", direction, *saved.tensors)
