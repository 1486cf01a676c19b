"""The kernels on a batch of matrices, one launch for all of them."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.launching import launch
from covlayers.functional._base.linalg import BEYOND_ROUNDING
from covlayers.functional._iterations.mending import mend_roots
from covlayers.functional._iterations.newton import newton_steps
from covlayers.functional._iterations.root_gradient_triton import root_gradient
from covlayers.functional._iterations.roots_triton import coupled_iteration
from covlayers.functional._iterations.sign_triton import sign_iteration
from covlayers.functional._iterations.smith_triton import smith_iteration
from covlayers.functional._iterations.strided import PRECISION, flat, limit_of_last, strided
from covlayers.functional._iterations.symmetric_part_triton import symmetric_part_of
from covlayers.functional._iterations.team import launch_gradient_by_team, launch_roots_by_team

SMALLEST_TILE = 16  # of a product
TILE_OF_LARGE = 32  # of a matrix that goes through a program tile by tile


def launch_roots(
    A: Tensor,
    coefficients: Sequence[float],
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool = False,
) -> list[Tensor]:
    """The kernels of :func:`~.roots.iterated_roots`."""
    A = A.contiguous()
    on_chip = A.shape[-1] <= tuning.LARGEST_ON_CHIP
    run = _roots_on_chip if on_chip else launch_roots_by_team
    found = run(A, coefficients, tight, root, inverse_root, mended)
    if mended:
        mend_roots(A, coefficients, found, root, inverse_root)
    return found


def _roots_on_chip(
    A: Tensor,
    coefficients: Sequence[float],
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool,
) -> list[Tensor]:
    Y, Z = (torch.empty_like(A) if wanted else None for wanted in (root, inverse_root))
    steps = len(coefficients) // 3
    known = steps, tight, any(coefficients[2::3]), root, inverse_root
    limits = limit_of_last(A.shape[-1], mended)
    launch_each(coupled_iteration, (A, Y, Z), (tuple(coefficients), *limits, *known))
    return [one for one in (Y, Z) if one is not None]


def launch_root_gradient(
    Y: Tensor, Z: Tensor | None, gY: Tensor | None, gZ: Tensor | None, lower: float, doublings: int
) -> Tensor:
    """The kernel of :func:`~.root_gradient.gradient_by_kernel`."""
    if Y.shape[-1] > tuning.LARGEST_ON_CHIP:
        return launch_gradient_by_team(Y, Z, gY, gZ, lower, doublings)
    Y = Y.contiguous()
    Z = None if Z is None else Z.contiguous()
    (gY, gY_strides), (gZ, gZ_strides) = strided(gY), strided(gZ)
    X = torch.empty_like(Y)
    shift = lower**0.5
    known = gY is not None, gZ is not None, newton_steps(shift), doublings
    launch_each(root_gradient, (Y, Z, gY, gZ, X), (gY_strides, gZ_strides, shift, *known))
    return X


def launch_smith(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    """The kernel of :func:`~.smith.solve_by_smith`."""
    S, Q, bound = _alike(S, Q, bound)
    X = torch.empty_like(S)
    shift = lower**0.5
    launch_each(smith_iteration, (S, Q, bound, X), (shift, newton_steps(shift), doublings))
    return X


def launch_sign(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    """The kernel of :func:`~.sign.solve_by_sign`."""
    S, Q, norm = _alike(S, Q, norm)
    X = torch.empty_like(S)
    launch_each(sign_iteration, (S, Q, norm, X), (iterations,))
    return X


def launch_symmetric_part(A: Tensor) -> Tensor:
    """The kernel of :func:`~.symmetric_part.symmetric_part`."""
    S = torch.empty(A.shape, dtype=A.dtype, device=A.device)
    n = A.shape[-1]
    tile = min(padded(n), TILE_OF_LARGE)
    if A.numel() > 0:
        A = flat(A)
        launch(
            *(symmetric_part_of, (A.shape[0],), (A, S), (A.stride(), BEYOND_ROUNDING, n)),
            TILES=-(-n // tile),
            TILE=tile,
            num_warps=1 if tile == SMALLEST_TILE else 4,
        )
    return S


def _alike(S: Tensor, Q: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return S.contiguous(), Q.contiguous(), scale.expand(*S.shape[:-2], 1, 1).contiguous()


def padded(n: int) -> int:
    """The side of a tile: a power of two."""
    return max(SMALLEST_TILE, 1 << (n - 1).bit_length())


def launch_each(kernel: Any, tensors: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """A launch for a batch of contiguous matrices, the first of ``tensors``."""
    *batch, n, _ = tensors[0].shape
    size = padded(n)
    if tensors[0].numel() > 0:
        launch(
            *(kernel, (prod(batch),), tensors, (*numbers, n)),
            SIZE=size,
            PRECISION=PRECISION,
            num_warps=size // 16,
            num_stages=1,
        )
