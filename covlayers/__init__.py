"""Second-order statistics for PyTorch: exact, stable and differentiable."""

from covlayers import functional
from covlayers.modules import (
    CovPool,
    DecorrelatedBatchNorm,
    ISQRTCovPool,
    IterNorm,
    MPACovPool,
    MPNCovPool,
    MTPCovPool,
    PCANorm,
)

__version__ = "0.1.0"

__all__ = [
    "CovPool",
    "DecorrelatedBatchNorm",
    "ISQRTCovPool",
    "IterNorm",
    "MPACovPool",
    "MPNCovPool",
    "MTPCovPool",
    "PCANorm",
    "__version__",
    "functional",
]
