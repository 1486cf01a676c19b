"""One launch for each step on features: a program for each tile of a result."""

from typing import Any

from torch import Tensor

from covlayers.functional._base.launching import launch
from covlayers.functional._base.tensors import run_length
from covlayers.functional._features.covariance_triton import (
    covariance_of_features,
    gradient_of_features,
)
from covlayers.functional._features.products_triton import (
    channels_from_positions,
    gradient_from_positions,
    gradient_times_features,
)
from covlayers.functional._features.triangle_triton import gradient_of_triangle, triangle_of_matrix
from covlayers.functional._iterations.strided import PRECISION

TILE, BLOCK, SHORT = 64, 32, 16
"""The side of a tile of a result, and how much of a sum is taken at a time."""


def launch_covariance(
    x: Tensor, center: bool, eps: float, shrinkage: float, A: Tensor, mean: Tensor
) -> None:
    """Fills ``A`` and ``mean``."""
    N, C, M = x.shape
    grid = (N, _tiles(C), _tiles(C))
    numbers = (*x.stride(), C, M, eps, shrinkage)
    options = {"CENTER": center, "SHRINK": shrinkage != 0, "BLOCK": BLOCK}
    options["RUN"] = run_length(M, x.stride())
    _launch(covariance_of_features, grid, (x, A, mean), numbers, PRECISION=PRECISION, **options)


def launch_covariance_gradient(
    grad: Tensor, x: Tensor, mean: Tensor, shrinkage: float, g: Tensor
) -> None:
    """Fills ``g``."""
    N, C, M = x.shape
    grid = (N, _tiles(C), _tiles(M))
    tensors = grad, x, mean, g
    numbers = (*grad.stride(), *x.stride(), *g.stride(), C, M, shrinkage)
    options = {"SHRINK": shrinkage != 0, "BLOCK": BLOCK}
    options["RUN"] = run_length(M, x.stride(), g.stride())
    _launch(gradient_of_features, grid, tensors, numbers, PRECISION=PRECISION, **options)


def launch_triangle(A: Tensor, isometric: bool, v: Tensor) -> None:
    """Fills ``v``."""
    N, n, _ = A.shape
    grid = N, _tiles(n), _tiles(n)
    _launch(triangle_of_matrix, grid, (A, v), (*A.stride(), n), ISOMETRIC=isometric)


def launch_triangle_gradient(grad: Tensor, n: int, isometric: bool, G: Tensor) -> None:
    """Fills ``G``."""
    grid = (len(grad), _tiles(n), _tiles(n))
    _launch(gradient_of_triangle, grid, (grad, G), (*grad.stride(), n), ISOMETRIC=isometric)


def launch_channels(
    x: Tensor, T: Tensor, y: Tensor, center: bool, triangle: bool, isometric: bool, Y: Tensor
) -> None:
    """Fills ``Y``, a matrix or a triangle."""
    N, C, M = x.shape
    options = {"TRIANGLE": triangle, "ISOMETRIC": isometric, "BLOCK": SHORT, **_sides(center, M)}
    grid = N, _tiles(C), _tiles(C)
    _launch(channels_from_positions, grid, (x, T, y, Y), (*x.stride(), C, M), **options)


def launch_times_features(
    grad: Tensor, x: Tensor, center: bool, triangle: bool, isometric: bool, P: Tensor
) -> None:
    """Fills ``P``."""
    N, C, M = x.shape
    numbers = (*strides_of_gradient(grad), *x.stride(), C, M)
    options = {"TRIANGLE": triangle, "ISOMETRIC": isometric, "BLOCK": BLOCK, **_sides(center, M)}
    _launch(gradient_times_features, (N, _tiles(C)), (grad, x, P), numbers, **options)


def launch_to_features(x: Tensor, P: Tensor, L: Tensor, R: Tensor, center: bool, g: Tensor) -> None:
    """Fills ``g``."""
    N, C, M = x.shape
    numbers = (*x.stride(), *g.stride(), C, M)
    options = {"BLOCK": SHORT, **_sides(center, M)}
    _launch(gradient_from_positions, (N, _tiles(C)), (x, P, L, R, g), numbers, **options)


def strides_of_gradient(grad: Tensor) -> tuple[int, int, int]:
    """Of the sample, the row and the column; a triangle has no rows."""
    rows = grad.stride(1) if grad.dim() == 3 else 0
    return grad.stride(0), rows, grad.stride(-1)


def padded(M: int) -> int:
    """The side of a tile that holds all positions: a power of two."""
    return max(16, 1 << (M - 1).bit_length())


def _sides(center: bool, M: int) -> dict[str, Any]:
    return {"CENTER": center, "SIZE": padded(M), "PRECISION": PRECISION}


def _tiles(size: int) -> int:
    return -(-size // TILE)


def _launch(
    kernel: Any,
    grid: tuple[int, ...],
    tensors: tuple[Tensor, ...],
    numbers: tuple[Any, ...],
    **options: Any,
) -> None:
    launch(kernel, grid, tensors, numbers, TILE=TILE, num_warps=4, num_stages=1, **options)
