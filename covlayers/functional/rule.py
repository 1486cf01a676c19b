"""How a matrix function is differentiated: through the steps, or by a rule that replaces them.

Every derivative here is self-adjoint: a function of a symmetric matrix has a symmetric Jacobian, so
one formula serves the vector-Jacobian and the Jacobian-vector product.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.function import compiles_whole, refuse_nested_forward_mode
from covlayers.functional._base.linalg import symmetric
from covlayers.functional._base.precision import no_autocast
from covlayers.functional.core import Fns, MatrixFunction, Method
from covlayers.functional.saved import Saved


class Backward(ABC):
    """How a matrix function is differentiated.

    Example:
        >>> A = torch.eye(2, requires_grad=True)
        >>> sqrtm(A, backward=Loewner()).sum().backward()
        >>> A.grad
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """

    @abstractmethod
    def apply(self, fns: Fns, method: Method, A: Tensor) -> tuple[Tensor, ...]:
        """For each of ``fns`` an output ``(*, n, n)``: ``method`` on ``A``, as autograd sees it."""


class Rule(Backward):
    """A formula for the gradient, in place of the derivative of the steps.

    ``reads`` names all that is ``saved`` for it: any of ``"A"``, ``"outputs"`` and ``"spectrum"``.

    Example:
        >>> class Straight(Rule):
        ...     def vjp(self, fn, saved, grad):
        ...         return grad
    """

    reads: ClassVar[tuple[str, ...]] = ("A",)

    @abstractmethod
    def vjp(self, fn: MatrixFunction, saved: Saved, grad: Tensor) -> Tensor:
        """The gradient for ``A`` from ``grad``, for ``fn(A)``: both symmetric, ``(*, n, n)``."""

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
        """The functions to compute so that the rule can read them: ``fns``, and maybe more."""
        return fns

    def apply(self, fns: Fns, method: Method, A: Tensor) -> tuple[Tensor, ...]:
        for fn in fns:
            if not self.serves(fn):
                raise UnsupportedError(
                    f"{self} has no formula for {fn.name}; use backward='loewner', which serves "
                    "every matrix function."
                )
        computed = self.computes(fns)
        function = _Ruled if compiles_whole() else _RuledWithJvp
        outputs = function.apply(A, computed, method, self)
        # Looked up by name: torch.compile cannot compare frozen dataclasses.
        by_name = {fn.name: output for fn, output in zip(computed, outputs, strict=False)}
        return tuple(by_name[fn.name] for fn in fns)


class _Ruled(torch.autograd.Function):
    """The method's forward with the rule's backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(A: Tensor, fns: Fns, method: Method, rule: Rule) -> tuple[Tensor, ...]:
        outputs = method.forward(fns, A)
        return outputs if "spectrum" in rule.reads else outputs[: len(fns)]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _, ctx.fns, _, ctx.rule = inputs
        ctx.save_for_backward(*_kept(inputs, output))
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        saved = _saved(ctx)
        terms = [
            _differentiate(ctx.rule, ctx.rule.vjp, fn, saved, symmetric(grad))
            for fn, grad in zip(ctx.fns, grads, strict=False)
            if grad is not None
        ]
        return (symmetric(sum(terms[1:], terms[0])) if terms else None), None, None, None


class _RuledWithJvp(_Ruled):
    """The same with forward mode, which torch.compile does not accept in a custom Function."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _Ruled.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*_kept(inputs, output))

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> tuple[Tensor, ...]:
        refuse_nested_forward_mode()
        saved = _saved(ctx)
        tangent = symmetric(tangent)
        roots = (_differentiate(ctx.rule, ctx.rule.jvp, fn, saved, tangent) for fn in ctx.fns)
        # The spectrum is for the rule alone. Its tangent, never used, marks what depends on A,
        # so that a second derivative through a surrogate is noticed.
        return *roots, *(torch.zeros_like(part) for part in saved.known_spectrum)


def _kept(inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """``A``, the outputs and the spectrum, in this order; None for what the rule does not read."""
    A, fns, _, rule = inputs
    roots, spectrum = output[: len(fns)], output[len(fns) :]
    missing = "spectrum" in rule.reads and len(spectrum) == 0
    return (
        A if "A" in rule.reads or missing else None,
        *(root if "outputs" in rule.reads else None for root in roots),
        *spectrum,
    )


def _saved(ctx: Any) -> Saved:
    A, *rest = ctx.saved_tensors
    roots, spectrum = rest[: len(ctx.fns)], rest[len(ctx.fns) :]
    names = (fn.name for fn in ctx.fns)
    outputs = {name: root for name, root in zip(names, roots, strict=True) if root is not None}
    return Saved(A, outputs, tuple(spectrum))


def _differentiate(
    rule: Rule,
    formula: Callable[[MatrixFunction, Saved, Tensor], Tensor],
    fn: MatrixFunction,
    saved: Saved,
    direction: Tensor,
) -> Tensor:
    """The rule's formula, which raises when differentiated again unless it is right to do so."""
    with no_autocast(direction):
        if rule.any_order(fn) or torch.compiler.is_compiling():  # a compiled backward has no next
            return formula(fn, saved, direction)
        with torch.no_grad():
            result = formula(fn, saved, direction)
    return FirstOrderOnly.apply(result, f"{rule} for {fn.name}", direction, *saved.tensors)


class FirstOrderOnly(torch.autograd.Function):
    """The identity on a gradient that must not be differentiated: a surrogate's is no function's.

    The further inputs are what the gradient was made from, so that autograd comes by here.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(result: Tensor, what: str, *sources: Tensor) -> Tensor:
        return result.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.what = inputs[1]

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise UnsupportedError(
            f"the backward rule {ctx.what} has no second derivative; use backward='loewner', "
            "'smith' or 'lyapunov' with sqrtm and invsqrtm, or backward='autograd'."
        )

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Any:
        return FirstOrderOnly.backward(ctx)
