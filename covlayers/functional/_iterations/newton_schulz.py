r"""Newton-Schulz of a matrix divided by its trace, and the derivative of its steps.

.. math:: s = \operatorname{tr} A, \quad B = A/s, \qquad A^{1/2} \approx \sqrt s\, y(B), \quad
          A^{-1/2} \approx z(B) / \sqrt s, \quad y(B) = B\, z(B) .

The derivative of a polynomial of a symmetric matrix is its own adjoint, so the gradient through
:math:`z` is the tangent of :math:`z` along the gradient, and no step is kept. For :math:`W = y z`,

.. math:: W \leftarrow \tfrac14 (9 W - 6 W^2 + W^3), \qquad Q = \tfrac12 (3 I - W), \qquad
          z \leftarrow Q z, \qquad W_0 = B, \quad z_0 = I .
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.function import differentiable
from covlayers.functional._base.linalg import (
    identity_like,
    nonzero,
    semidefinite,
    symmetric,
    trace,
)
from covlayers.functional._iterations import roots
from covlayers.functional._iterations.conditions import fits_with_derivative
from covlayers.functional._iterations.operators import define, one_like
from covlayers.functional._iterations.roots import Roots


def newton_schulz_by_kernel(
    A: Tensor, steps: int, *, root: bool, inverse_root: bool
) -> Roots | None:
    """The roots of symmetric ``A``, ``(*, n, n)``, where a kernel serves; elsewhere None.

    Args:
        A: the matrices; one with an eigenvalue below -1% of its norm gives NaN.
        steps: how many.
        root: whether it is wanted.
        inverse_root: whether it is wanted.
    """
    if not _served(A):
        return None
    return Roots([*_differentiable(A, steps, root, inverse_root)[:-1]])


def explain_newton_schulz(A: Tensor) -> tuple[str, str] | None:
    """What runs in place of the plain lines and why, if anything does."""
    if _served(A):
        return "one Triton kernel for all steps", "the matrices are small and on a GPU"
    return roots.explain_roots(A)


def _served(A: Tensor) -> bool:
    return A.device.type != "cpu" and fits_with_derivative(A)


class _NewtonSchulz:
    """The operator; its second derivative goes through the plain lines."""

    @staticmethod
    def forward(A: Tensor, steps: int, root: bool, inverse_root: bool) -> tuple[Tensor, ...]:
        return tuple(_operator(A, steps, root, inverse_root))

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> Iterable[Tensor]:
        A, *ctx.options = inputs
        ctx.set_materialize_grads(False)
        return A, output[-1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, None, None, None]:
        A, s = ctx.saved_tensors
        steps, root, inverse_root = ctx.options
        of_root, of_inverse = grads[0] if root else None, grads[-2] if inverse_root else None
        if of_root is None and of_inverse is None:
            return None, None, None, None
        if torch.is_grad_enabled():
            given = [torch.zeros_like(A) if grad is None else grad for grad in grads[:-1]]
            vjp = torch.func.vjp(lambda A: plain(A, *ctx.options)[:-1], A)[1]
            return vjp(tuple(given))[0], None, None, None
        return _gradient_operator(A, s, of_root, of_inverse, steps), None, None, None


_differentiable = differentiable(_NewtonSchulz)


def plain(A: Tensor, steps: int, root: bool, inverse_root: bool) -> tuple[Tensor, ...]:
    """The wanted roots, and the trace, ``(*, 1, 1)``, NaN for an indefinite matrix."""
    A = semidefinite(symmetric(A))
    total = trace(A)
    s = torch.where(torch.isnan(total), total, nonzero(total))
    last = roots.plain(A / s, [(1.5, -0.5, 0.0)] * steps, tight=False)
    found = (s.sqrt() * last.root,) if root else ()
    return (*found, last.inverse_root / s.sqrt(), s) if inverse_root else (*found, s)


def plain_gradient(
    A: Tensor, s: Tensor, gY: Tensor | None, gZ: Tensor | None, steps: int
) -> Tensor:
    """The symmetric gradient for ``A`` from gradients for the root and the inverse root."""
    identity, B = identity_like(A), symmetric(A) / s
    gY, gZ = (torch.zeros_like(A) if grad is None else symmetric(grad) for grad in (gY, gZ))
    gY, gZ = s.sqrt() * gY, gZ / s.sqrt()
    along_root = symmetric(B @ gY)  # as y = B z
    W, dW = B, gZ + along_root
    Z, dZ = 1.5 * identity - W / 2, -dW / 2
    for _ in range(1, steps):
        square, half = W @ W, dW @ W
        d_square = half + half.mT
        cube, d_cube = square @ W, d_square @ W + square @ dW
        W = 2.25 * W - 1.5 * square + cube / 4
        dW = symmetric(2.25 * dW + d_cube / 4) - 1.5 * d_square  # what is skew would grow
        Q = 1.5 * identity - W / 2
        Z, dZ = Q @ Z, Q @ dZ - dW @ Z / 2
    R = symmetric(dZ + gY @ Z)
    of_s = _inner(along_root - gZ, Z) / 2 - _inner(R, B)
    return (R + torch.where(trace(B) > 0, of_s, 0.0) * identity) / s


def _inner(first: Tensor, second: Tensor) -> Tensor:
    return (first * second).sum((-2, -1), keepdim=True)


def _on_cpu(A: Tensor, steps: int, root: bool, inverse_root: bool) -> list[Tensor]:
    *found, s = plain(A, steps, root, inverse_root)
    return [*(symmetric(one).contiguous() for one in found), s]


def _on_cuda(A: Tensor, steps: int, root: bool, inverse_root: bool) -> list[Tensor]:
    from covlayers.functional._iterations.launch_published import launch_newton_schulz

    return launch_newton_schulz(A, steps, root, inverse_root)


def _fake(A: Tensor, _: int, root: bool, inverse_root: bool) -> list[Tensor]:
    return [*(one_like(A) for _ in range(root + inverse_root)), A.new_empty(*A.shape[:-2], 1, 1)]


def _gradient_on_cpu(*args: Any) -> Tensor:
    return plain_gradient(*args).contiguous()


def _gradient_on_cuda(*args: Any) -> Tensor:
    from covlayers.functional._iterations.launch_published import launch_newton_schulz_gradient

    return launch_newton_schulz_gradient(*args)


# A matrix costs one read and one or two writes. A product takes 2 n³ operations: there are one for
# the first step and three for each later one, and the test of definiteness takes 2 n³ more.
_operator = define(
    "newton_schulz(Tensor A, int steps, bool root, bool inverse_root) -> Tensor[]",
    _on_cpu,
    _on_cuda,
    _fake,
)
# Two to four reads and a write, eight matrices in the cache of the GPU, and eight products for each
# step after the first.
_gradient_operator = define(
    "newton_schulz_gradient(Tensor A, Tensor s, Tensor? gY, Tensor? gZ, int steps) -> Tensor",
    _gradient_on_cpu,
    _gradient_on_cuda,
)
