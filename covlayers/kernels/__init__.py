"""Whole iterations on chip, for many small matrices on a GPU: one read, one write, one launch."""

from covlayers.kernels.conditions import fits
from covlayers.kernels.operators import roots, sign, smith

__all__ = ["fits", "roots", "sign", "smith"]
