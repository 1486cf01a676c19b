"""Gradients as the kernels read them: of any strides, so that no copy is made."""

from typing import NamedTuple

import torch
from torch import Tensor

PRECISION = "tf32x3"
"""Three products of the tensor cores for one of float32 accuracy."""

FLOOR = torch.finfo(torch.float32).tiny ** 0.375
"""The norm that a zero matrix counts as."""


class Strided(NamedTuple):
    """Matrices ``(batch, n, n)`` and their three strides."""

    matrices: Tensor
    strides: tuple[int, int, int]


def strided(matrices: Tensor | None, like: Tensor) -> Strided:
    """Matrices ``(*, n, n)``; those they are ``like`` stand in for None, which is never read."""
    n = like.shape[-1]
    flat = (like if matrices is None else matrices).reshape(-1, n, n)
    return Strided(flat, flat.stride())
