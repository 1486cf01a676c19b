"""The launches of the kernels of a batch, one each."""

from typing import Any

import torch
from torch import Tensor

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
    x, n, M = rows(x)
    _, groups, c, _ = scatters.shape
    cut = tiles(n, groups, c)
    grid = cut.parts, cut.blocks * (cut.blocks + 1) // 2, groups
    args = x, means, scatters, n, M, x.stride(), c, cut.each, cut.blocks, run_length(M, x.stride())
    _launch(sum_parts, grid, *args, **_sums(cut))


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
    args = means, scatters, *outputs, n, parts, tiles(n, groups, c).positions, c, eps, shrinkage
    columns = min(power_of_two(c), max(COLUMNS, TAKEN // _padded(parts)))
    grid = c, groups, -(-c // columns)
    _launch(add_parts, grid, *args, 1, columns, **_taken(parts, columns))


def launch_affine(
    x: Tensor, W: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None, y: Tensor
) -> None:
    """The output."""
    x, n, M = rows(x)
    groups, c, _ = W.shape
    y_strides = strides(y)
    args = x, W, mean, weight, bias, y, n, M, x.stride(), y_strides, c
    run = run_length(M, x.stride(), y_strides)
    grid, sizes = _products(n, groups, c, DEPTH)
    _launch(affine, grid, *args, run, **sizes)


def launch_sum_gradient_parts(
    grad: Tensor, x: Tensor, mean: Tensor, totals: Tensor, products: Tensor
) -> None:
    """Sums ``(P, C)`` and products ``(P, G, c, c)`` of the parts."""
    (g, n, M), (x, *_) = rows(grad), rows(x)
    _, groups, c, _ = products.shape
    cut = tiles(n, groups, c)
    args = g, x, mean, totals, products, n, M, g.stride(), x.stride(), c, cut.each, cut.blocks
    grid = cut.parts, cut.blocks**2, groups
    _launch(sum_gradient_parts, grid, *args, run_length(M, g.stride(), x.stride()), **_sums(cut))


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
    args = totals, products, W, weight, *outputs, parts, c, symmetric
    side = power_of_two(c)
    sizes = _taken(parts, ROWS * side)
    _launch(add_gradient_parts, (-(-c // ROWS), groups), *args, ROWS, side, **sizes)


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
    (g, n, M), (x, *_) = rows(grad), rows(x)
    groups, c, _ = W.shape
    all_strides = g.stride(), x.stride(), strides(gx)
    args = g, x, W, weight, mean, total, gcov, gx, n, M, *all_strides, c, share
    grid, sizes = _products(n, groups, c, DEPTH // 2)  # of two products in one
    _launch(features_gradient, grid, *args, run_length(M, *all_strides), **sizes)


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
    args = running_mean, running_cov, seen, mean, cov, unbiased, momentum
    _launch(move, (programs,), *args, mean.numel(), cov.shape[-1], WIDTH=MOVED)


def rows(x: Tensor) -> tuple[Tensor, int, int]:
    """``x (N, C, *)`` as ``(N, C, M)``, a view where memory allows it, ``N M`` and ``M``."""
    x = x.unsqueeze(-1) if x.dim() == 2 else x.flatten(2)
    return x, x.shape[0] * x.shape[2], x.shape[2]


def strides(y: Tensor) -> tuple[int, ...]:
    """The strides of an output ``(N, C, *)`` as ``(N, C, M)``, in its own memory."""
    return y.view(*y.shape[:2], -1).stride()


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


def _launch(kernel: Any, grid: tuple[int, ...], *args: Any, **sizes: Any) -> None:
    with torch.cuda.device_of(args[0]):
        kernel[grid](*args, **sizes)
