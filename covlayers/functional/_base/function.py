"""Custom autograd Functions: the one place that knows Dynamo and ``torch.func``."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.graph import saved_tensors_hooks

from covlayers.functional._base.errors import UnsupportedError

_functorch = torch._C._functorch
# Older versions give torch.func.vjp a zero pullback after a graph break (pytorch#172386).
_MAY_END_A_GRAPH = torch.__version__ >= "2.13"
compiling = torch.compiler.is_compiling
graph_task = torch._C._current_graph_task_id  # of the backward pass that runs here
NO_GRAPH_TASK = -1
under_func = torch._C._are_functorch_transforms_active
wrapped = _functorch.is_functorch_wrapped_tensor  # by a transform of torch.func, for one call
T = TypeVar("T")


class Formulas(Protocol):
    """What :func:`differentiable` wants: a value, what to keep of it, and the derivative.

    With ``jvp(ctx, *tangents)``, one entry for each output, forward mode may call it too.
    """

    @staticmethod
    def forward(*inputs: Any) -> Any:
        """The value: a tensor, or a tuple of tensors."""

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Iterable[Tensor | None]:
        """The inputs and outputs that the derivatives read; sets all else on ``ctx``."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """The vector-Jacobian product, one entry for each input."""


def differentiable(formulas: type[Formulas]) -> Callable[..., Any]:
    """A function with the value and the derivatives of ``formulas``.

    Without a derivative to take it is ``forward`` alone. Eager reverse mode takes the Function that
    costs least. The transforms of ``torch.func`` and forward mode take one with all that they ask
    for; ``torch.compile`` takes one without ``jvp``, which it does not accept.
    """

    class Cheap(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            output = formulas.forward(*inputs)
            ctx.device = inputs[0].device.type
            ctx.save_for_backward(*formulas.keep(ctx, inputs, output))
            return output

        backward = _outside_autocast(formulas.backward)

    class Compiled(torch.autograd.Function):
        generate_vmap_rule = True
        forward = formulas.forward
        backward = _outside_autocast(formulas.backward)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.device = inputs[0].device.type
            ctx.save_for_backward(*formulas.keep(ctx, inputs, output))

    class Transformed(torch.autograd.Function):
        generate_vmap_rule = True
        forward = formulas.forward
        backward = _outside_autocast(formulas.backward)

        if hasattr(formulas, "jvp"):
            jvp = _outside_autocast(_not_nested(formulas.jvp))

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.device = inputs[0].device.type
            kept = tuple(formulas.keep(ctx, inputs, output))
            ctx.save_for_backward(*kept)
            ctx.save_for_forward(*kept)

    def apply(*inputs: Any) -> Any:
        if compiling():
            return (Compiled if _compiles_whole() else Transformed).apply(*inputs)
        if under_func() or forward_ad._current_level >= 0:
            return Transformed.apply(*inputs)
        if torch.is_grad_enabled():
            for one in inputs:
                if isinstance(one, Tensor) and one.requires_grad:
                    return Cheap.apply(*inputs)
        return formulas.forward(*inputs)

    return apply


def recorded(
    function: Callable[[Tensor], Tensor], x: Tensor
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """The value at ``x`` and its vector-Jacobian product, from a graph of its own."""
    x = x.detach().requires_grad_()
    # Activation checkpointing hooks saved tensors. Without hooks of our own it would run everything
    # before this point again, to get these small matrices.
    with torch.enable_grad(), saved_tensors_hooks(torch.detach, lambda saved: saved):
        y = function(x)
    return y.detach(), lambda grad: torch.autograd.grad(y, x, grad, retain_graph=True)[0]


def _outside_autocast(formula: Callable[..., Any]) -> Any:
    """A derivative that nothing autocasts: it may run where the forward pass did not."""

    def derivative(ctx: Any, *directions: Any) -> Any:
        if ctx.device == "meta" or not torch.is_autocast_enabled(ctx.device):
            return formula(ctx, *directions)
        with torch.autocast(ctx.device, enabled=False):
            return formula(ctx, *directions)

    return staticmethod(derivative)


def _not_nested(jvp: Callable[..., Any]) -> Callable[..., Any]:
    """A forward derivative that raises inside another forward derivative.

    Raises:
        UnsupportedError: under two forward derivatives, since PyTorch would lose terms of the outer
            one (pytorch#197867).
    """

    def once(ctx: Any, *tangents: Any) -> Any:
        around = _functorch.get_interpreter_stack() or ()
        if sum(one.key() == _functorch.TransformType.Jvp for one in around) > 1:
            raise UnsupportedError(
                "forward mode over forward mode is not supported, as PyTorch would lose terms; "
                "take one of the two in reverse mode, e.g. torch.func.hessian in place of "
                "jacfwd(jacfwd)."
            )
        return jvp(ctx, *tangents)

    return once


def transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward mode is active."""
    return under_func() or forward_ad._current_level >= 0


def captured(x: Tensor) -> bool:
    """Whether ``x`` is from outside an active transform of ``torch.func``, where it is constant."""
    return under_func() and not wrapped(x)


def in_forward_mode() -> bool:
    """Whether tangents are carried along."""
    return forward_ad._current_level >= 0


def exporting() -> bool:
    """Whether a graph is being exported; torch 2.11 says so in every compiled one too."""
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def readable(A: Tensor, *, may_wait: bool = False) -> bool:
    """Whether the host may look at values of ``A`` without harm.

    A compiled graph would break, and tensors under transforms have no values, nor have fake
    tensors. On a GPU the host would have to wait, if it ``may_wait``, which a CUDA graph forbids.
    """
    if compiling() or under_func() or forward_ad._current_level >= 0:
        return False
    if A.device.type != "cpu":
        waits = may_wait and A.device.type == "cuda"
        return waits and not torch.cuda.is_current_stream_capturing()
    return type(A) in (Tensor, torch.nn.Parameter)


def _compiles_whole() -> bool:
    """Whether only its own backward pass differentiates the graph that is being compiled.

    Under a transform of ``torch.func`` the compiler would differentiate the steps of a Function in
    place of its formulas, or lose what they depend on, without a word (pytorch#193279,
    pytorch#192985). So the graph ends there, and eager mode computes the right derivative.

    Raises:
        UnsupportedError: under such a transform, where PyTorch is too old to end the graph.
    """
    if not _MAY_END_A_GRAPH:
        _refuse_transforms_that_lose_rules()
    elif _functorch.get_dynamic_layer_stack_depth() or in_forward_mode():
        torch._dynamo.graph_break()
        return False
    return True


def _refuse_transforms_that_lose_rules() -> None:
    """A single reverse derivative is right, and so are maps that nothing differentiates."""
    around = [one.key() for one in _functorch.get_interpreter_stack() or ()]
    kinds = _functorch.TransformType
    maps_alone = not torch.is_grad_enabled() and all(kind == kinds.Vmap for kind in around)
    if around and around != [kinds.Grad] and not maps_alone:
        raise UnsupportedError(
            "torch.compile of this transform of torch.func would lose a backward rule in this "
            "version of PyTorch; take 2.13 or newer, or leave torch.compile out of it."
        )


def compile_time(function: Callable[..., T]) -> Callable[..., T]:
    """Mark a function of plain numbers: a compiled graph runs it once and keeps the result.

    ``torch.compiler.assume_constant_result`` sets this mark too, and loads the compiler for it.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # Dynamo reads it
    return function


compile_time(_refuse_transforms_that_lose_rules)
