"""Second-order statistics for PyTorch: exact, stable and differentiable."""

from covlayers import functional
from covlayers.modules import (
    CovPool,
    DecorrelatedBatchNorm,
    GroupWhitening,
    ISQRTCovPool,
    IterNorm,
    MPACovPool,
    MPNCovPool,
    MTPCovPool,
    PCANorm,
    SwitchableWhitening,
)

__version__ = "0.1.0"

__all__ = [
    "CovPool",
    "DecorrelatedBatchNorm",
    "GroupWhitening",
    "ISQRTCovPool",
    "IterNorm",
    "MPACovPool",
    "MPNCovPool",
    "MTPCovPool",
    "PCANorm",
    "SwitchableWhitening",
    "__version__",
    "functional",
]
