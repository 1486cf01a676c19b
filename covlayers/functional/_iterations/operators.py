"""The kernels as PyTorch operators: opaque to torch.compile, known to vmap, plain on a CPU.

None has a derivative: the rules of the library differentiate, and a backward pass that comes by
here raises. :func:`fits` leaves the plain lines to whoever differentiates through the steps.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._iterations import plain


@torch.library.custom_op("covlayers::roots", mutates_args=(), device_types="cpu")
def roots(A: Tensor, coefficients: list[float], tight: bool) -> tuple[Tensor, Tensor]:
    r"""Root and inverse root by the coupled iteration with given coefficients.

    .. math:: W = Z_k Y_k, \quad Q = p_k I + q_k W + r_k W^2, \quad
              Y_{k+1} = Y_k Q, \quad Z_{k+1} = Q Z_k, \qquad Y_0 = A/c, \quad Z_0 = I.

    A matrix costs one read and two writes, :math:`12 n^2` bytes, and of products of :math:`2 n^3`
    operations 3 for each step after the first, 1 more where some :math:`r_k \ne 0`; the first step
    has 1, and 1 more where ``tight``.

    Args:
        A: symmetric float32 matrices.
        coefficients: :math:`p_k, q_k, r_k` of each step, one after the other.
        tight: :math:`c = \lVert A^2 \rVert_F^{1/2}`, and a matrix whose iteration diverges gives
            NaN; otherwise :math:`c = \operatorname{tr} A`.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: two of :math:`(*, n, n)`, contiguous
    """
    return plain.roots(A.contiguous(), coefficients, tight)


@torch.library.custom_op("covlayers::smith", mutates_args=(), device_types="cpu")
def smith(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    r"""Solve :math:`S X + X S = Q` by the squared Smith iteration.

    A matrix costs two reads and a write, :math:`12 n^2` bytes, and :math:`2 + 2 N + 3 k` products
    of :math:`2 n^3` operations for :math:`k` doublings and :math:`N` Newton steps, 5 by default.

    Args:
        S: symmetric positive definite float32 matrices.
        Q: right-hand sides, symmetric or not.
        bound: no smaller than the largest eigenvalue of ``S``.
        lower: in (0, 1]: the smallest eigenvalue as a fraction of ``bound``; the shift is
            :math:`p = \sqrt{\text{lower}} \cdot \text{bound}`.
        doublings: steps.

    Shape:
        - S, Q: :math:`(*, n, n)`, the same for both
        - bound: :math:`(*, 1, 1)`, or broadcast to it
        - Output: :math:`(*, n, n)`, contiguous
    """
    return plain.smith(S.contiguous(), Q.contiguous(), bound, lower, doublings)


@torch.library.custom_op("covlayers::sign", mutates_args=(), device_types="cpu")
def sign(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    r"""Solve :math:`S X + X S = Q` by the Newton-Schulz iteration for the matrix sign.

    A matrix costs two reads and a write, :math:`12 n^2` bytes, and :math:`6 k` products of
    :math:`2 n^3` operations for :math:`k` iterations.

    Args:
        S: symmetric positive definite float32 matrices.
        Q: right-hand sides, symmetric or not.
        norm: no smaller than the largest eigenvalue of ``S``.
        iterations: steps.

    Shape:
        - S, Q: :math:`(*, n, n)`, the same for both
        - norm: :math:`(*, 1, 1)`, or broadcast to it
        - Output: :math:`(*, n, n)`, contiguous
    """
    return plain.sign(S.contiguous(), Q.contiguous(), norm, iterations)


@roots.register_kernel("cuda")
def _(A: Tensor, coefficients: list[float], tight: bool) -> tuple[Tensor, Tensor]:
    from covlayers.functional._iterations.launch import (
        launch_roots,  # triton takes a second to import
    )

    return launch_roots(A, coefficients, tight)


@smith.register_kernel("cuda")
def _(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    from covlayers.functional._iterations.launch import launch_smith

    return launch_smith(S, Q, bound, lower, doublings)


@sign.register_kernel("cuda")
def _(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    from covlayers.functional._iterations.launch import launch_sign

    return launch_sign(S, Q, norm, iterations)


@roots.register_fake
def _(A: Tensor, coefficients: list[float], tight: bool) -> tuple[Tensor, Tensor]:
    return A.new_empty(A.shape), A.new_empty(A.shape)


@smith.register_fake
def _(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    return S.new_empty(S.shape)


@sign.register_fake
def _(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    return S.new_empty(S.shape)


def _batched(operator: Callable[..., Any]) -> Callable[..., Any]:
    """The rule for vmap: one more batch dimension, in front."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Any, Any]:
        front = (
            arg
            if not isinstance(arg, Tensor)
            else arg.expand(info.batch_size, *arg.shape)
            if dim is None
            else arg.movedim(dim, 0)
            for arg, dim in zip(args, in_dims, strict=True)
        )
        result = operator(*front)
        return result, (0,) * len(result) if isinstance(result, tuple) else 0

    return rule


for operator in (roots, smith, sign):
    operator.register_vmap(_batched(operator))
