"""The launches of the published cells, one for a batch of matrices."""

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._iterations.launch import launch_each, padded
from covlayers.functional._iterations.newton_schulz_gradient_triton import newton_schulz_gradient
from covlayers.functional._iterations.newton_schulz_triton import newton_schulz
from covlayers.functional._iterations.strided import PRECISION, strided


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
    A, s = A.contiguous(), s.contiguous()
    gradients, strides = zip(*map(strided, (gY, gZ)), strict=True)
    X, scratch = torch.empty_like(A), A.new_empty(8, *A.shape)
    wanted = gY is not None, gZ is not None
    if A.numel() > 0:
        n = A.shape[-1]
        with torch.cuda.device_of(A):
            newton_schulz_gradient[(A.numel() // n**2,)](
                *(A, s, *gradients, X, scratch, *strides, *wanted, steps, n),
                SIZE=padded(n),
                DEPTH=tuning.BLOCK_DEPTH,
                PRECISION=PRECISION,
                num_warps=padded(n) // 16,
                num_stages=1,
            )
    return X
