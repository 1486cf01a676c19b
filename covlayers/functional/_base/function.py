"""Custom Functions under ``torch.func``, where PyTorch alone would lose part of a derivative."""

import torch
from torch.autograd import forward_ad

from covlayers.functional._base.errors import UnsupportedError

_functorch = torch._C._functorch
# Before, behind a graph that ended, the pullback of torch.func.vjp was zero (pytorch#172386).
_MAY_END_A_GRAPH = torch.__version__ >= "2.13"


def in_forward_mode() -> bool:
    """Whether tangents are carried along."""
    return forward_ad._current_level >= 0


def compiles_whole() -> bool:
    """Whether a graph is being compiled that nothing but its own backward pass differentiates.

    Under a transform of ``torch.func`` the compiler would differentiate the steps of a Function in
    place of its rule, or lose what the rule depends on, without a word (pytorch#193279,
    pytorch#192985). There the graph ends, and what is eager is right.

    Raises:
        UnsupportedError: where that would happen, and PyTorch is too old for a graph to end.
    """
    if not torch.compiler.is_compiling():
        return False
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


# All that torch.compiler.assume_constant_result does, but that loads the compiler.
_refuse_transforms_that_lose_rules._dynamo_marked_constant = True  # type: ignore[attr-defined]


def refuse_nested_forward_mode() -> None:
    """For the ``jvp`` of a Function, which PyTorch differentiates no further forwards.

    Raises:
        UnsupportedError: under two forward derivatives, of which the outer one would lose terms
            (pytorch#197867).
    """
    around = _functorch.get_interpreter_stack() or ()
    if sum(one.key() == _functorch.TransformType.Jvp for one in around) > 1:
        raise UnsupportedError(
            "forward mode over forward mode is not supported, as PyTorch would lose terms; take "
            "one of the two in reverse mode, e.g. torch.func.hessian in place of jacfwd(jacfwd)."
        )
