"""Gradients that must not be differentiated."""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.function import transformed


def first_order_only(result: Tensor, what: str, *sources: Tensor) -> Tensor:
    """A gradient that raises when differentiated, since no function has a surrogate's gradient.

    Args:
        result: the gradient.
        what: names the gradient in the error.
        *sources: the tensors it was made from, through which autograd reaches it.
    """
    if torch.is_grad_enabled() or transformed():
        return _FirstOrderOnly.apply(result, what, *sources)
    return result


class _FirstOrderOnly(torch.autograd.Function):
    """The identity, which raises when differentiated in either mode."""

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
        return _FirstOrderOnly.backward(ctx)
