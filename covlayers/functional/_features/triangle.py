"""The upper triangle of matrices ``(N, n, n)``, and its adjoint, zero below the diagonal."""

import torch
from torch import Tensor

from covlayers.functional._iterations.operators import declare


def _triangle(A: Tensor, isometric: bool) -> Tensor:
    n = A.shape[-1]
    row, column = torch.triu_indices(n, n, device=A.device)
    v = A[:, row, column]
    return torch.where(row == column, v, 2**0.5 * v) if isometric else v.contiguous()


def _triangle_on_cuda(A: Tensor, isometric: bool) -> Tensor:
    from covlayers.functional._features.launch import launch_triangle  # triton takes a second

    v = _empty_triangle(A, isometric)
    launch_triangle(A, isometric, v)
    return v


def _empty_triangle(A: Tensor, isometric: bool) -> Tensor:
    N, n, _ = A.shape
    return A.new_empty(N, n * (n + 1) // 2)


def adjoint(grad: Tensor, n: int, isometric: bool) -> Tensor:
    """In plain PyTorch: the matrix ``(N, n, n)`` of a gradient for the triangle."""
    row, column = torch.triu_indices(n, n, device=grad.device)
    scaled = torch.where(row == column, grad, 2**0.5 * grad) if isometric else grad
    G = grad.new_zeros(grad.shape[0], n, n)
    G[:, row, column] = scaled
    return G


def _adjoint_on_cuda(grad: Tensor, n: int, isometric: bool) -> Tensor:
    from covlayers.functional._features.launch import launch_triangle_gradient

    G = grad.new_empty(grad.shape[0], n, n)
    launch_triangle_gradient(grad, n, isometric, G)
    return G


# Each moves a matrix and a triangle, 6 n² bytes.
triangle_of = declare(
    "triangle(Tensor A, bool isometric) -> Tensor", _triangle, _triangle_on_cuda, _empty_triangle
)
triangle_gradient = declare(
    "triangle_gradient(Tensor grad, int n, bool isometric) -> Tensor",
    adjoint,
    _adjoint_on_cuda,
    lambda grad, n, isometric: grad.new_empty(grad.shape[0], n, n),
)
