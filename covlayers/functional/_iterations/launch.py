"""One program for each matrix of a batch."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._iterations.roots_triton import coupled_iteration
from covlayers.functional._iterations.sign_triton import sign_iteration
from covlayers.functional._iterations.smith_triton import smith_iteration

# Three products of the tensor cores for one of float32 accuracy.
PRECISION = "tf32x3"


def launch_roots(A: Tensor, coefficients: Sequence[float], tight: bool) -> tuple[Tensor, Tensor]:
    """The kernel of :func:`~.roots.iterated_roots`."""
    A = A.contiguous()
    Y, Z = torch.empty_like(A), torch.empty_like(A)
    quintic = any(coefficients[2::3])
    steps = len(coefficients) // 3
    _launch(coupled_iteration, A, Y, Z, tuple(coefficients), steps, tight, quintic)
    return Y, Z


def launch_smith(S: Tensor, Q: Tensor, bound: Tensor, lower: float, doublings: int) -> Tensor:
    """The kernel of :func:`~.smith.solve_by_smith`."""
    S, Q, bound = _alike(S, Q, bound)
    X = torch.empty_like(S)
    shift = lower**0.5
    _launch(smith_iteration, S, Q, bound, X, shift, newton_steps(shift), doublings)
    return X


def launch_sign(S: Tensor, Q: Tensor, norm: Tensor, iterations: int) -> Tensor:
    """The kernel of :func:`~.sign.solve_by_sign`."""
    S, Q, norm = _alike(S, Q, norm)
    X = torch.empty_like(S)
    _launch(sign_iteration, S, Q, norm, X, iterations)
    return X


def newton_steps(shift: float) -> int:
    """Scaled Newton steps to the inverse of a matrix with spectrum in ``[shift, 1 + shift]``."""
    residual = 1 / (2 * (1 + 2 * shift) ** 2 - 1)
    steps = 0
    while residual > torch.finfo(torch.float32).eps / 2:
        residual = residual**2 / (2 - residual**2)
        steps += 1
    return steps


def _alike(S: Tensor, Q: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return S.contiguous(), Q.contiguous(), scale.expand(*S.shape[:-2], 1, 1).contiguous()


def _launch(kernel: Any, matrix: Tensor, *args: object) -> None:
    *batch, n, _ = matrix.shape
    if prod(batch) == 0:
        return
    size = max(16, 1 << (n - 1).bit_length())  # a tile's side is a power of two
    with torch.cuda.device_of(matrix):
        kernel[(prod(batch),)](
            matrix, *args, n, SIZE=size, PRECISION=PRECISION, num_warps=size // 16, num_stages=1
        )
