"""What the launches share."""

import torch
from torch import Tensor

# Three products of the tensor cores for one of float32 accuracy.
PRECISION = "tf32x3"

# The norm that a zero matrix counts as: see the kernels' TINY.
FLOOR = torch.finfo(torch.float32).tiny ** 0.375


def strided(A: Tensor | None) -> tuple[Tensor | None, tuple[int, ...]]:
    """A batch of one dimension, copied only where no strides describe it, and its strides."""
    if A is None:
        return None, (0, 0, 0)
    A = A.reshape(-1, *A.shape[-2:])
    return A, A.stride()
