"""Second-order statistics for PyTorch: exact, stable and differentiable."""

from covlayers import functional
from covlayers.modules import (
    AttentiveTemporalCovPool,
    CholeskyWhitening,
    CovAttention,
    CovPool,
    CrossCovPool,
    DecorrelatedBatchNorm,
    GroupWhitening,
    ISQRTCovPool,
    IterNorm,
    MPACovPool,
    MPNCovPool,
    MTPCovPool,
    PCANorm,
    PCAWhitening,
    SecondOrderHead,
    SVPowerNorm,
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
    replace_head,
)

__version__ = "0.1.0"

__all__ = [
    "AttentiveTemporalCovPool",
    "CholeskyWhitening",
    "ConditioningMonitor",
    "CovAttention",
    "CovPool",
    "CrossCovPool",
    "DecorrelatedBatchNorm",
    "GroupWhitening",
    "ISQRTCovPool",
    "IterNorm",
    "MPACovPool",
    "MPNCovPool",
    "MTPCovPool",
    "PCANorm",
    "PCAWhitening",
    "SVPowerNorm",
    "SecondOrderHead",
    "SwitchableWhitening",
    "ZCAWhitening",
    "__version__",
    "convert_batchnorm",
    "convert_sync",
    "fold",
    "freeze_stats",
    "functional",
    "recalibrate",
    "replace_head",
]
