"""Second-order statistics for PyTorch: exact, stable and differentiable."""

from covlayers import functional
from covlayers.modules import CovPool, ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool

__version__ = "0.1.0"

__all__ = [
    "CovPool",
    "ISQRTCovPool",
    "MPACovPool",
    "MPNCovPool",
    "MTPCovPool",
    "__version__",
    "functional",
]
