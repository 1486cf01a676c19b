"""Whole iterations on chip, for many small matrices on a GPU: one read, one write, one launch."""

from covlayers.functional._iterations.conditions import fits
from covlayers.functional._iterations.operators import roots, sign, smith

__all__ = ["fits", "roots", "sign", "smith"]
