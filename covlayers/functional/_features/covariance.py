r"""The covariance of features and its derivative.

.. math:: A = (1 - s) \Sigma + \bigl(s\, \tfrac{\operatorname{tr} \Sigma}{C} + \varepsilon\bigr) I,
          \quad \Sigma = \tfrac1M z z^\top, \quad z = x - \mu, \qquad
          g_x = \tfrac1M \bigl((1 - s)(G + G^\top) + \tfrac{2s}{C} \operatorname{tr} G\bigr) z

``x`` is ``(N, C, M)`` with any strides, and its gradient has them too. The means are kept, ``(N,
C)``, so that a tile of the gradient needs no row as a whole.
"""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.function import differentiable
from covlayers.functional._base.linalg import identity_like, regularized, symmetric, trace
from covlayers.functional._iterations.operators import declare
from covlayers.functional._iterations.strided import flat


def _covariance(x: Tensor, center: bool, eps: float, shrinkage: float) -> tuple[Tensor, Tensor]:
    mean = x.mean(-1) if center else torch.zeros_like(x[..., 0])
    z = x - mean.unsqueeze(-1)
    A = regularized(symmetric(z @ z.mT) / x.shape[-1], eps, shrinkage or None)
    return A.contiguous(), mean.contiguous()


def _covariance_on_cuda(
    x: Tensor, center: bool, eps: float, shrinkage: float
) -> tuple[Tensor, Tensor]:
    from covlayers.functional._features.launch import launch_covariance  # triton takes a second

    A, mean = _empty_covariance(x, center, eps, shrinkage)
    launch_covariance(x, center, eps, shrinkage, A, mean)
    return A, mean


def _empty_covariance(
    x: Tensor, center: bool, eps: float, shrinkage: float
) -> tuple[Tensor, Tensor]:
    N, C, _ = x.shape
    return x.new_empty(N, C, C), x.new_empty(N, C)


def _gradient(grad: Tensor, x: Tensor, mean: Tensor, shrinkage: float) -> Tensor:
    z = x - mean.unsqueeze(-1)
    return torch.empty_like(x).copy_(gradient_of_covariance(grad, z, shrinkage))


def gradient_of_covariance(grad: Tensor, z: Tensor, shrinkage: float) -> Tensor:
    """In plain PyTorch, from centred features ``z (*, C, M)``."""
    C, M = z.shape[-2:]
    twice = (1 - shrinkage) * (grad + grad.mT)
    if shrinkage:
        twice = twice + 2 * shrinkage / C * trace(grad) * identity_like(grad)
    return twice @ z / M


def _gradient_on_cuda(grad: Tensor, x: Tensor, mean: Tensor, shrinkage: float) -> Tensor:
    from covlayers.functional._features.launch import launch_covariance_gradient

    g = torch.empty_like(x)
    launch_covariance_gradient(grad, x, mean, shrinkage, g)
    return g


# Read: x, twice for each tile of A. A product of 2 C² M operations, of which a half is done.
covariance_of = declare(
    "covariance(Tensor x, bool center, float eps, float shrinkage) -> (Tensor, Tensor)",
    _covariance,
    _covariance_on_cuda,
    _empty_covariance,
)
covariance_gradient = declare(
    "covariance_gradient(Tensor grad, Tensor x, Tensor mean, float shrinkage) -> Tensor",
    _gradient,
    _gradient_on_cuda,
    lambda grad, x, mean, shrinkage: torch.empty_like(x),
)


class _Covariance:
    """The operators for features ``(N, C, M)``; ``x`` and its means are kept."""

    @staticmethod
    def forward(x: Tensor, center: bool, eps: float, shrinkage: float) -> tuple[Tensor, Tensor]:
        A, mean = covariance_of(x, center, eps, shrinkage)
        return A, mean

    @staticmethod
    def keep(
        ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        x, ctx.center, _, ctx.shrinkage = inputs
        ctx.set_materialize_grads(False)
        return x, output[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor | None, _: None) -> tuple[Tensor | None, None, None, None]:
        if grad is None:
            return None, None, None, None
        x, mean = ctx.saved_tensors
        if torch.is_grad_enabled():
            z = x - x.mean(-1, keepdim=True) if ctx.center else x
            return gradient_of_covariance(grad, z, ctx.shrinkage), None, None, None
        return covariance_gradient(grad, x, mean, ctx.shrinkage), None, None, None


_covariance_by_kernel = differentiable(_Covariance)


def covariance_by_kernel(x: Tensor, center: bool, eps: float, shrinkage: float | None) -> Tensor:
    """The covariance ``(*, C, C)`` of features ``(*, C, M)`` that a kernel serves."""
    A: Tensor = _covariance_by_kernel(flat(x), center, eps, shrinkage or 0.0)[0]
    return A if x.dim() == 3 else A.view(*x.shape[:-2], *A.shape[1:])
