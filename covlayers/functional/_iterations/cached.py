"""The launches for matrices that one program keeps in the cache of the GPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._iterations.cached_gradient_triton import cached_gradient
from covlayers.functional._iterations.cached_roots_triton import cached_iteration
from covlayers.functional._iterations.newton import newton_start, newton_steps
from covlayers.functional._iterations.strided import FLOOR, PRECISION, limit_of_last, strided


def cached_roots(
    A: Tensor,
    coefficients: Sequence[float],
    tight: bool,
    root: bool,
    inverse_root: bool,
    mended: bool,
) -> list[Tensor]:
    """The wanted roots of matrices of up to 128 rows, the root first: one launch."""
    Y, Z = (torch.empty_like(A) if wanted else None for wanted in (root, inverse_root))
    scratch = A.new_empty(4, *A.shape)
    steps, quintic = len(coefficients) // 3, tight or any(coefficients[2::3])
    flags = steps, tight, quintic, root, inverse_root
    limits = limit_of_last(A.shape[-1], mended)
    _launch(cached_iteration, A, Y, Z, scratch, tuple(coefficients), *limits, *flags)
    return [X for X in (Y, Z) if X is not None]


def cached_gradient_of_roots(
    Y: Tensor,
    Z: Tensor | None,
    gY: Tensor | None,
    gZ: Tensor | None,
    lower: float,
    doublings: int,
) -> Tensor:
    """``X`` with ``Y X + X Y = gY - Z gZ Z``, of matrices of up to 128 rows: one launch."""
    Y = Y.contiguous()
    Z = None if Z is None else Z.contiguous()
    X, scratch, p = torch.empty_like(Y), Y.new_empty(4, *Y.shape), lower**0.5
    gradients, strides = zip(*map(strided, (gY, gZ)), strict=True)
    *start_of_V, rho = newton_start(p)
    flags = gY is not None, gZ is not None, newton_steps(p), doublings
    _launch(
        *(cached_gradient, Y, Z, *gradients, X, scratch, *strides),
        *(FLOOR**0.5, p, tuple(start_of_V), rho, *flags),
    )
    return X


def _launch(kernel: Any, matrix: Tensor, *args: object) -> None:
    if matrix.numel() == 0:
        return
    n = matrix.shape[-1]
    with torch.cuda.device_of(matrix):
        kernel[(matrix.numel() // n**2,)](
            matrix,
            *args,
            n,
            LINE=tuning.LARGEST_IN_CACHE,
            SIZE=tuning.BLOCK_SIZE,
            DEPTH=tuning.BLOCK_DEPTH,
            PRECISION=PRECISION,
            num_warps=tuning.CACHED_WARPS,
            num_stages=1,
        )
