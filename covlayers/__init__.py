"""Second-order statistics for PyTorch: exact, stable and differentiable."""

from covlayers import functional
from covlayers.modules import (
    CholeskyWhitening,
    CovPool,
    DecorrelatedBatchNorm,
    GroupWhitening,
    ISQRTCovPool,
    IterNorm,
    MPACovPool,
    MPNCovPool,
    MTPCovPool,
    PCANorm,
    PCAWhitening,
    SwitchableWhitening,
    ZCAWhitening,
)
from covlayers.surgery import (
    ConditioningMonitor,
    convert_batchnorm,
    convert_sync,
    fold,
    freeze_stats,
    recalibrate,
)

__version__ = "0.1.0"

__all__ = [
    "CholeskyWhitening",
    "ConditioningMonitor",
    "CovPool",
    "DecorrelatedBatchNorm",
    "GroupWhitening",
    "ISQRTCovPool",
    "IterNorm",
    "MPACovPool",
    "MPNCovPool",
    "MTPCovPool",
    "PCANorm",
    "PCAWhitening",
    "SwitchableWhitening",
    "ZCAWhitening",
    "__version__",
    "convert_batchnorm",
    "convert_sync",
    "fold",
    "freeze_stats",
    "functional",
    "recalibrate",
]
