"""The launches for matrices that a team of programs keeps in the cache of the GPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.launching import launch
from covlayers.functional._iterations.conditions import multiprocessors
from covlayers.functional._iterations.newton import newton_start, newton_steps
from covlayers.functional._iterations.strided import FLOOR, PRECISION, limit_of_last, strided
from covlayers.functional._iterations.team_gradient_triton import gradient_by_team
from covlayers.functional._iterations.team_roots_triton import roots_by_team


def launch_roots_by_team(
    A: Tensor,
    coefficients: Sequence[float],
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool,
) -> list[Tensor]:
    """The wanted roots, the root first."""
    Y, Z = (torch.empty_like(A) if wanted else None for wanted in (root, inverse_root))
    steps, quintic = len(coefficients) // 3, tight or any(coefficients[2::3])
    flags = steps, tight, quintic, root, inverse_root
    numbers = tuple(coefficients), *limit_of_last(A.shape[-1], mended)
    _launch(roots_by_team, (A, Y, Z), A.new_empty(5, *A.shape), (*numbers, *flags))
    return [X for X in (Y, Z) if X is not None]


def launch_gradient_by_team(
    Y: Tensor,
    Z: Tensor | None,
    gY: Tensor | None,
    gZ: Tensor | None,
    lower: float,
    doublings: int,
) -> Tensor:
    """``X`` with ``Y X + X Y = gY - Z gZ Z``, for the symmetric parts of the gradients."""
    Y = Y.contiguous()
    Z = None if Z is None else Z.contiguous()
    X, p = torch.empty_like(Y), lower**0.5
    (gY, gY_strides), (gZ, gZ_strides) = strided(gY), strided(gZ)
    *start_of_V, rho = newton_start(p)
    flags = gY is not None, gZ is not None, newton_steps(p), doublings
    numbers = gY_strides, gZ_strides, FLOOR**0.5, p, tuple(start_of_V), rho
    matrices = Y, Z, gY, gZ, X
    _launch(gradient_by_team, matrices, Y.new_empty(3, *Y.shape), (*numbers, *flags))
    return X


def team_size(A: Tensor) -> int:
    """How many programs share a matrix: one for each block, as far as several teams fit the GPU."""
    side = -(-A.shape[-1] // tuning.BLOCK_SIZE)
    return min(side**2, max(1, multiprocessors(A.device) // tuning.TEAMS_AT_ONCE))


def _launch(
    kernel: Any,
    matrices: tuple[Tensor | None, ...],
    scratch: Tensor,
    numbers: tuple[Any, ...],
) -> None:
    A = matrices[0]
    if A is None or A.numel() == 0:
        return
    n = A.shape[-1]
    count, team = A.numel() // n**2, team_size(A)
    meetings = torch.zeros(1 + count, dtype=torch.int32, device=A.device)
    parts = scratch.new_empty(count, team)
    launch(
        *(kernel, (count * team,), (*matrices, scratch, meetings, parts), (*numbers, team, n)),
        LINE=1 << (n - 1).bit_length(),
        SIZE=tuning.BLOCK_SIZE,
        DEPTH=tuning.BLOCK_DEPTH,
        PRECISION=PRECISION,
        num_warps=tuning.BLOCK_WARPS,
        num_stages=tuning.BLOCK_STAGES,
    )
