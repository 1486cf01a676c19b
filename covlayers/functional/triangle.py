"""The upper triangle of a symmetric matrix as a vector, and back."""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count, check_flag
from covlayers.functional._base.function import differentiable
from covlayers.functional._base.tensors import (
    check_shape,
    check_square,
    check_tensor,
    full_precision,
)
from covlayers.functional._features.conditions import serves
from covlayers.functional._features.triangle import adjoint, triangle_gradient, triangle_of
from covlayers.functional._iterations.strided import flat

SHORT = 2**15
"""Below this size 32 bits count the entries of a matrix: fewer bytes of indices take less time."""


@full_precision
def triu_vector(A: Tensor, *, isometric: bool = False) -> Tensor:
    r"""The upper triangle of symmetric matrices, row by row.

    .. math:: v = (A_{11}, A_{12}, \dots, A_{1n}, A_{22}, \dots, A_{nn})

    With ``isometric``, off-diagonal entries are multiplied by :math:`\sqrt 2`, so that
    :math:`\lVert v \rVert_2 = \lVert A \rVert_F`.

    Args:
        A: symmetric matrices; only the upper triangle is read.
        isometric: whether to preserve the Frobenius inner product.

    Shape:
        - A: :math:`(*, n, n)`
        - Output: :math:`(*, n(n+1)/2)`

    Raises:
        InvalidValueError: if ``A`` is not square.
        InvalidTypeError: if ``A`` is not a real floating tensor.

    Example:
        >>> triu_vector(torch.tensor([[1.0, 2.0], [2.0, 3.0]]))
        tensor([1., 2., 3.])
    """
    check_square("A", A)
    check_flag("isometric", isometric)
    return upper_triangle(A, isometric)


def upper_triangle(A: Tensor, isometric: bool = False) -> Tensor:
    """The core of :func:`triu_vector`."""
    n = A.shape[-1]
    if A.device.type != "cpu" and serves(A):
        kernel: Tensor = _triangle(flat(A), isometric)
        return kernel if A.dim() == 3 else kernel.view(*A.shape[:-2], -1)
    short = torch.int32 if n < SHORT else torch.int64
    row, column = torch.triu_indices(n, n, dtype=short, device=A.device)
    v = A.flatten(-2).index_select(-1, row * n + column)
    return v * (1 + (2**0.5 - 1) * (row != column).to(A.dtype)) if isometric else v


class _Triangle:
    """The operator and its adjoint."""

    @staticmethod
    def forward(A: Tensor, isometric: bool) -> Tensor:
        v: Tensor = triangle_of(A, isometric)
        return v

    @staticmethod
    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> tuple[Tensor, ...]:
        A, ctx.isometric = inputs
        ctx.n = A.shape[-1]
        return ()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        run = adjoint if torch.is_grad_enabled() else triangle_gradient
        return run(grad, ctx.n, ctx.isometric), None


_triangle = differentiable(_Triangle)


def symmetric_gradient(grad: Tensor, n: int, isometric: bool) -> Tensor:
    """The gradient for a symmetric ``A``, ``(*, n, n)``, from the one for its triangle."""
    i = torch.arange(n, dtype=torch.int32 if n < SHORT else torch.int64, device=grad.device)
    start = n * i - i * (i + 1) // 2  # of row i of the triangle, less i
    share = grad.new_full(grad.shape[-1:], 0.5**0.5 if isometric else 0.5)
    halved = grad * share.index_fill(0, (start + i).long(), 1.0)
    position = start[:, None] + i  # of entry (i, j), where i <= j; larger than of (j, i) elsewhere
    position = torch.minimum(position, position.mT)
    return halved.index_select(-1, position.flatten()).reshape(*grad.shape[:-1], n, n)


@full_precision
def triu_matrix(v: Tensor, n: int, *, isometric: bool = False) -> Tensor:
    r"""The symmetric matrices whose upper triangles are ``v``: the inverse of :func:`triu_vector`.

    .. math:: A_{ij} = A_{ji} = v_k, \qquad
              k = (i - 1)\, n - \tfrac12 (i - 1)(i - 2) + j - i + 1, \quad i \le j

    With ``isometric``, off-diagonal entries are divided by :math:`\sqrt 2`.

    Args:
        v: upper triangles, row by row.
        n: size of the matrices, at least 0.
        isometric: whether ``v`` was made with ``isometric=True``.

    Shape:
        - v: :math:`(*, n(n+1)/2)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: if the last dimension of ``v`` is not :math:`n(n+1)/2`.
        InvalidTypeError: if ``v`` is not a real floating tensor or ``n`` not an int.

    Example:
        >>> triu_matrix(torch.tensor([1.0, 2.0, 3.0]), 2)
        tensor([[1., 2.],
                [2., 3.]])
    """
    check_tensor("v", v, 1)
    check_count("n", n, at_least=0)
    check_flag("isometric", isometric)
    check_shape("v", v, (n * (n + 1) // 2,), f"for n={n}, that is n(n+1)/2")
    i = torch.arange(n, device=v.device)
    low, high = torch.minimum(i, i[:, None]), torch.maximum(i, i[:, None])
    position = low * n - low * (low - 1) // 2 + high - low  # of entry (low, high) in v
    A = v.index_select(-1, position.flatten()).reshape(*v.shape[:-1], n, n)
    return A * (1 + (0.5**0.5 - 1) * (low != high).to(v.dtype)) if isometric else A
