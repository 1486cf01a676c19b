"""The launches for matrices that one program keeps in the cache of the GPU."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._iterations.cached_gradient_triton import cached_gradient
from covlayers.functional._iterations.cached_roots_triton import cached_iteration
from covlayers.functional._iterations.newton import newton_start, newton_steps
from covlayers.functional._iterations.strided import FLOOR, PRECISION, strided


def cached_roots(
    A: Tensor, coefficients: Sequence[float], tight: bool, root: bool, inverse_root: bool
) -> list[Tensor]:
    """The wanted roots of matrices of up to 128 rows, the root first: one launch."""
    A = A.contiguous()
    Y, Z, Q = torch.empty_like(A), torch.empty_like(A), torch.empty_like(A)
    steps, quintic = len(coefficients) // 3, any(coefficients[2::3])
    wanted = root, inverse_root
    _launch(cached_iteration, A, Y, Z, Q, tuple(coefficients), steps, tight, quintic, *wanted)
    return [X for X, is_wanted in zip((Y, Z), wanted, strict=True) if is_wanted]


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
    X, scratch, p = torch.empty_like(Y), Y.new_empty(2, *Y.shape), lower**0.5
    gradients = strided(gY, Y), strided(gZ, Y)
    _launch(
        cached_gradient,
        *(Y, Y if Z is None else Z.contiguous(), *[g.matrices for g in gradients], X, scratch),
        *(stride for g in gradients for stride in g.strides),
        *(FLOOR**0.5, p, *newton_start(p)),
        *(gY is not None, gZ is not None, newton_steps(p), doublings),
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
            SIZE=max(16, 1 << (n - 1).bit_length()),
            DEPTH=tuning.CACHED_DEPTH,
            PRECISION=PRECISION,
            num_warps=tuning.CACHED_WARPS,
            num_stages=1,
        )
