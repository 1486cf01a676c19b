"""The launches of the published cells, one for a batch of matrices."""

import torch
from torch import Tensor

from covlayers.functional._iterations.launch import launch_each
from covlayers.functional._iterations.newton_schulz_triton import (
    newton_schulz,
    newton_schulz_gradient,
)
from covlayers.functional._iterations.strided import strided


def launch_newton_schulz(A: Tensor, steps: int, root: bool, inverse_root: bool) -> list[Tensor]:
    """The kernel of :func:`~.newton_schulz.newton_schulz_by_kernel`."""
    A = A.contiguous()
    Y, Z = (torch.empty_like(A) if wanted else None for wanted in (root, inverse_root))
    s = A.new_empty(*A.shape[:-2], 1, 1)
    launch_each(newton_schulz, A, Y, Z, s, steps, root, inverse_root)
    return [one for one in (Y, Z, s) if one is not None]


def launch_newton_schulz_gradient(
    A: Tensor, s: Tensor, gY: Tensor | None, gZ: Tensor | None, steps: int
) -> Tensor:
    """The kernel of :func:`~.newton_schulz.plain_gradient`."""
    A, s = A.contiguous(), s.expand(*A.shape[:-2], 1, 1).contiguous()
    gradients, strides = zip(*map(strided, (gY, gZ)), strict=True)
    X = torch.empty_like(A)
    wanted = gY is not None, gZ is not None
    launch_each(newton_schulz_gradient, A, s, *gradients, X, *strides, *wanted, steps)
    return X
