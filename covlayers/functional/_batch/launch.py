"""The launches of the kernels of a batch, one each."""

from typing import Any

import torch
from torch import Tensor

from covlayers.functional._batch.affine_triton import affine
from covlayers.functional._batch.averages_triton import move
from covlayers.functional._batch.gradient_triton import (
    add_gradient_parts,
    features_gradient,
    sum_gradient_parts,
)
from covlayers.functional._batch.statistics_triton import add_parts, sum_parts
from covlayers.functional._batch.tiles import Tiles, power_of_two, tiles
from covlayers.functional._iterations.strided import PRECISION

ROWS, TAKEN = 4, 2**12  # rows of a program that adds up parts, and entries that it reads at once
MOVED, MOVERS = 2**10, 64  # entries that a program moves at once, and programs at most


def launch_sum_parts(x: Tensor, means: Tensor, scatters: Tensor) -> None:
    """Means ``(P, C)`` and sums of squares ``(P, G, c, c)`` of the parts of ``x``."""
    x, n, M = rows(x)
    _, groups, c, _ = scatters.shape
    cut = tiles(n, groups, c)
    grid = cut.parts, cut.blocks * (cut.blocks + 1) // 2, groups
    args = x, means, scatters, n, M, x.stride(), c, cut.each, cut.blocks
    _launch(sum_parts, grid, *args, **_tile(cut), num_stages=2)


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
    _launch(add_parts, (-(-c // ROWS), groups), *args, **_rows(c))


def launch_affine(
    x: Tensor, W: Tensor, mean: Tensor, weight: Tensor | None, bias: Tensor | None, y: Tensor
) -> None:
    """The output."""
    x, n, M = rows(x)
    groups, c, _ = W.shape
    cut = tiles(n, groups, c)
    args = x, W, mean, weight, bias, y, n, M, x.stride(), strides(y), c, cut.all
    _launch(affine, (cut.all * groups, cut.blocks), *args, **_tile(cut), num_stages=1)


def launch_sum_gradient_parts(
    grad: Tensor, x: Tensor, mean: Tensor, totals: Tensor, products: Tensor
) -> None:
    """Sums ``(P, C)`` and products ``(P, G, c, c)`` of the parts."""
    (g, n, M), (x, *_) = rows(grad), rows(x)
    _, groups, c, _ = products.shape
    cut = tiles(n, groups, c)
    args = g, x, mean, totals, products, n, M, g.stride(), x.stride(), c, cut.each, cut.blocks
    grid = cut.parts, cut.blocks**2, groups
    _launch(sum_gradient_parts, grid, *args, **_tile(cut), num_stages=2)


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
    _launch(add_gradient_parts, (-(-c // ROWS), groups), *args, **_rows(c))


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
    cut = tiles(n, groups, c)
    args = g, x, W, weight, mean, total, gcov, gx, n, M, g.stride(), x.stride(), strides(gx)
    grid = cut.all * groups, cut.blocks
    _launch(features_gradient, grid, *args, c, cut.all, share, **_tile(cut), num_stages=1)


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


def _tile(cut: Tiles) -> dict[str, Any]:
    sizes = {"SIDE": cut.side, "WIDTH": cut.width, "PRECISION": PRECISION}
    return sizes | {"num_warps": 8 if cut.side == 64 else 4}


def _rows(c: int) -> dict[str, Any]:
    side = power_of_two(c)
    return {"ROWS": ROWS, "SIDE": side, "TAKEN": max(1, TAKEN // (ROWS * side))}


def _launch(kernel: Any, grid: tuple[int, ...], *args: Any, **sizes: Any) -> None:
    with torch.cuda.device_of(args[0]):
        kernel[grid](*args, **sizes)
