"""The launches of the kernels of a batch, one each."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.launching import launch
from covlayers.functional._base.tensors import run_length
from covlayers.functional._batch.affine_triton import affine
from covlayers.functional._batch.averages_triton import move
from covlayers.functional._batch.gradient_triton import (
    add_gradient_parts,
    features_gradient,
    sum_gradient_parts,
)
from covlayers.functional._batch.statistics_triton import add_parts, sum_parts
from covlayers.functional._batch.tiles import LARGEST_SIDE, Tiles, power_of_two, tiles
from covlayers.functional._iterations.strided import PRECISION

WIDTH, DEPTH = 64, 32  # positions and inner channels of a tile of features times a matrix
ROWS, COLUMNS = 2, 32  # of a program that adds up parts: of a gradient, of a covariance's row
TAKEN, ADDERS = 2**13, 8  # entries that it reads at once, and its warps
MOVED, MOVERS = 2**10, 64  # entries that a program moves at once, and programs at most


def launch_sum_parts(x: Tensor, means: Tensor, scatters: Tensor) -> None:
    """Means ``(P, C)`` and sums of squares ``(P, G, c, c)`` of the parts of ``x``."""
    x, n, M, x_strides = rows(x)
    _, groups, c, _ = scatters.shape
    cut = tiles(n, groups, c)
    grid = cut.parts, cut.blocks * (cut.blocks + 1) // 2, groups
    numbers = n, M, x_strides, c, cut.each, cut.blocks, run_length(M, x_strides)
    launch(sum_parts, grid, (x, means, scatters), numbers, **_sums(cut))


def launch_add_parts(
    means: Tensor,
    scatters: Tensor,
    n: int,
    eps: float,
    shrinkage: float | None,
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Mean ``(C,)``, covariance and regularised covariance ``(G, c, c)``."""
    parts, groups, c, _ = scatters.shape
    columns = min(power_of_two(c), max(COLUMNS, TAKEN // _padded(parts)))
    numbers = n, parts, tiles(n, groups, c).positions, c, eps, shrinkage, 1, columns
    grid = c, groups, -(-c // columns)
    launch(add_parts, grid, (means, scatters, *outputs), numbers, **_taken(parts, columns))


def launch_affine(
    x: Tensor, W: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None, y: Tensor
) -> None:
    """The output."""
    x, n, M, x_strides = rows(x)
    groups, c, _ = W.shape
    y_strides = rows(y)[-1]
    numbers = n, M, x_strides, y_strides, c, run_length(M, x_strides, y_strides)
    grid, sizes = _products(n, groups, c, DEPTH)
    launch(affine, grid, (x, W, mean, weight, bias, y), numbers, **sizes)


def launch_sum_gradient_parts(
    grad: Tensor, x: Tensor, mean: Tensor, totals: Tensor, products: Tensor
) -> None:
    """Sums ``(P, C)`` and products ``(P, G, c, c)`` of the parts."""
    (g, n, M, g_strides), (x, _, _, x_strides) = rows(grad), rows(x)
    _, groups, c, _ = products.shape
    cut = tiles(n, groups, c)
    run = run_length(M, g_strides, x_strides)
    numbers = n, M, g_strides, x_strides, c, cut.each, cut.blocks, run
    grid = cut.parts, cut.blocks**2, groups
    launch(sum_gradient_parts, grid, (g, x, mean, totals, products), numbers, **_sums(cut))


def launch_add_gradient_parts(
    totals: Tensor,
    products: Tensor,
    W: Tensor,
    weight: Tensor | None,
    symmetric: bool,
    outputs: tuple[Tensor, Tensor, Tensor],
) -> None:
    """The sums over all positions, the gradients of the scale and of ``W``."""
    parts, groups, c, _ = products.shape
    tensors, side = (totals, products, W, weight, *outputs), power_of_two(c)
    numbers = parts, c, symmetric, ROWS, side
    sizes = _taken(parts, ROWS * side)
    launch(add_gradient_parts, (-(-c // ROWS), groups), tensors, numbers, **sizes)


def launch_features_gradient(
    grad: Tensor,
    x: Tensor,
    W: Tensor,
    weight: Tensor | None,
    mean: Tensor,
    total: Tensor,
    gcov: Tensor,
    share: float,
    gx: Tensor,
) -> None:
    """The gradient of ``x``."""
    (g, n, M, g_strides), (x, _, _, x_strides) = rows(grad), rows(x)
    groups, c, _ = W.shape
    all_strides = g_strides, x_strides, rows(gx)[-1]
    tensors = g, x, W, weight, mean, total, gcov, gx
    numbers = n, M, *all_strides, c, share, run_length(M, *all_strides)
    grid, sizes = _products(n, groups, c, DEPTH // 2)  # of two products in one
    launch(features_gradient, grid, tensors, numbers, **sizes)


def launch_move(
    running_mean: Tensor,
    running_cov: Tensor,
    seen: Tensor,
    mean: Tensor,
    cov: Tensor,
    unbiased: float,
    momentum: float | None,
) -> None:
    """The running averages, in place."""
    programs = 1 if momentum is None else min(MOVERS, -(-cov.numel() // MOVED))
    tensors = running_mean, running_cov, seen, mean, cov
    numbers = unbiased, momentum, mean.numel(), cov.shape[-1]
    launch(move, (programs,), tensors, numbers, WIDTH=MOVED)


def rows(x: Tensor) -> tuple[Tensor, int, int, tuple[int, ...]]:
    """``x (N, C, *)``, ``N M``, ``M`` and its strides as ``(N, C, M)``: a copy if it has none."""
    n = x.numel() // x.shape[1]
    known = strides(x)
    if known is None:
        x = x.flatten(2)
        known = x.stride()
    return x, n, n // x.shape[0], known


def strides(x: Tensor) -> tuple[int, ...] | None:
    """The strides of ``x (N, C, *)`` as ``(N, C, M)``; None if no view of its memory has them."""
    return _strides(x.shape, x.stride())


@lru_cache(maxsize=2**10)
def _strides(shape: tuple[int, ...], stride: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return torch.empty_strided(shape, stride, device="meta").view(*shape[:2], -1).stride()
    except RuntimeError:
        return None


def _sums(cut: Tiles) -> dict[str, Any]:
    sizes = {"SIDE": cut.side, "WIDTH": cut.width, "PRECISION": PRECISION}
    return sizes | {"num_warps": 4, "num_stages": 1}


def _products(
    n: int, groups: int, c: int, depth: int
) -> tuple[tuple[int, int, int], dict[str, Any]]:
    side = min(LARGEST_SIDE, power_of_two(c))
    width = WIDTH * LARGEST_SIDE // side
    sizes = {"SIDE": side, "DEPTH": min(depth, side), "WIDTH": width, "PRECISION": PRECISION}
    return (-(-n // width), -(-c // side), groups), sizes | {"num_warps": 4, "num_stages": 1}


def _taken(parts: int, entries: int) -> dict[str, Any]:
    return {"TAKEN": min(max(1, TAKEN // entries), _padded(parts)), "num_warps": ADDERS}


def _padded(parts: int) -> int:
    return 1 << (parts - 1).bit_length()
