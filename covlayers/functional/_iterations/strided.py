"""What the launches share."""

import torch
from torch import Tensor

# Three products of the tensor cores for one of float32 accuracy.
PRECISION = "tf32x3"

# The norm that a zero matrix counts as: see the kernels' TINY.
FLOOR = torch.finfo(torch.float32).tiny ** 0.375


def limit_of_last(n: int, mended: bool) -> tuple[float, float]:
    """``h`` and ``b``: a matrix has no root where its last ``W`` has ``‖W - h I‖² > b``.

    As :meth:`~.roots.LastStep.stray` says if it shall be mended, as the plain lines else.
    """
    return (0.5, 0.25 + 0.26 * n) if mended else (0.0, n + 16.0)


def strided(A: Tensor | None) -> tuple[Tensor | None, tuple[int, ...]]:
    """A batch of one dimension, and its strides."""
    if A is None:
        return None, (0, 0, 0)
    A = flat(A)
    return A, A.stride()


def flat(A: Tensor) -> Tensor:
    """A batch of one dimension, copied only where no strides describe it."""
    return A if A.dim() == 3 else A.reshape(-1, *A.shape[-2:])
