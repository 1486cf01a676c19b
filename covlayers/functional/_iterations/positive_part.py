r"""The positive part of a matrix whose negative eigenvalues are rounding, by products alone.

.. math:: A_+ = \tfrac12 (A + A \operatorname{sign} A), \qquad X_0 = A/c, \quad
          X \leftarrow X (\tfrac{15}8 I - \tfrac{10}8 X^2 + \tfrac38 X^4), \quad
          c = \lVert A^2 \rVert_F^{1/2}

The quintic rises on all of :math:`[0, 1]` and takes it to itself, so that rounding does not grow:
of spectra with a negative eigenvalue the positive part was found to 3e-7, and with the minimax
quintics of the roots to 2e-4. A small eigenvalue is lifted by 15/8.

The norm of :math:`c` is at least the largest eigenvalue and at most :math:`n^{1/4}` of it.
"""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import (
    BEYOND_ROUNDING,
    identity_like,
    spectral_bound,
    symmetric,
)

RISING = 1.875, -1.25, 0.375
LIFTS = 28  # take the rounding of float32, 1.2e-7, to 1


def positive_part(A: Tensor) -> Tensor:
    """It, or NaN where its distance from ``A`` is more than 1% of ``A``, both in that norm."""
    p, q, r = RISING
    bound, identity = spectral_bound(A), identity_like(A)
    scaled = A / bound
    X = scaled
    for _ in range(LIFTS):
        square = X @ X
        X = X @ (p * identity + q * square + r * (square @ square))
    added = symmetric(scaled @ X - scaled) / 2
    away = torch.linalg.matrix_norm(added @ added, keepdim=True)
    return torch.where(away <= BEYOND_ROUNDING**2, A + bound * added, torch.nan)
