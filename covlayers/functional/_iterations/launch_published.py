"""The launches of the published cells, one for a batch of matrices."""

from collections.abc import Sequence

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.launching import launch
from covlayers.functional._iterations.approximants_triton import approximants
from covlayers.functional._iterations.launch import launch_each, padded
from covlayers.functional._iterations.newton import newton_steps
from covlayers.functional._iterations.newton_schulz_gradient_triton import newton_schulz_gradient
from covlayers.functional._iterations.newton_schulz_triton import newton_schulz
from covlayers.functional._iterations.strided import PRECISION, strided


def launch_newton_schulz(A: Tensor, steps: int, root: bool, inverse_root: bool) -> list[Tensor]:
    """The kernel of :func:`~.newton_schulz.newton_schulz_by_kernel`."""
    A = A.contiguous()
    Y, Z = (torch.empty_like(A) if wanted else None for wanted in (root, inverse_root))
    s = A.new_empty(*A.shape[:-2], 1, 1)
    launch_each(newton_schulz, (A, Y, Z, s), (steps, root, inverse_root))
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
        launch(
            *(newton_schulz_gradient, (A.numel() // n**2,), (A, s, *gradients, X, scratch)),
            (*strides, *wanted, steps, n),
            SIZE=padded(n),
            DEPTH=tuning.DEPTH_ALONE,
            PRECISION=PRECISION,
            num_warps=padded(n) // 16,
            num_stages=1,
        )
    return X


def launch_approximants(
    A: Tensor, of_root: Sequence[float], of_inverse: Sequence[float], fractions: bool
) -> list[Tensor]:
    """The kernel of :func:`~.approximants.approximants_by_kernel`."""
    A = A.contiguous()
    Y, Z = (torch.empty_like(A) if numbers else None for numbers in (of_root, of_inverse))
    wanted = Y is not None, Z is not None
    shifts = [(1 - c) / c for c in (*of_root, *of_inverse)] if fractions else []
    steps = max([newton_steps(p) for p in shifts], default=0)
    known = len(of_root or of_inverse), fractions, *wanted, steps
    launch_each(approximants, (A, Y, Z), (tuple(of_root), tuple(of_inverse), *known))
    return [one for one in (Y, Z) if one is not None]
