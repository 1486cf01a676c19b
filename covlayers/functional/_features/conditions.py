"""Where the kernels for features stand in for the plain lines."""

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.function import exporting, transformed
from covlayers.functional._iterations import conditions


def serves(x: Tensor) -> bool:
    """Whether a kernel may read ``x``: float32, with entries, on a GPU with tensor cores for it.

    Transforms of ``torch.func``, forward mode and an exported graph take the plain lines.
    """
    return (
        x.dtype == torch.float32
        and 0 not in x.shape
        and conditions._capable(x.device)
        and not transformed()
        and not exporting()
    )


def serves_positions(x: Tensor) -> bool:
    """Whether the side of the positions of ``x (*, C, M)`` fits on chip."""
    return 2 <= x.shape[-1] <= tuning.LARGEST_ON_CHIP and serves(x)
