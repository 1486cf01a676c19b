"""Layers: state and shapes over :mod:`covlayers.functional`."""

from covlayers.modules.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.pca_norm import PCANorm
from covlayers.modules.pooling import CovPool
from covlayers.modules.pooling_presets import ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool

__all__ = [
    "CovPool",
    "DecorrelatedBatchNorm",
    "ISQRTCovPool",
    "IterNorm",
    "MPACovPool",
    "MPNCovPool",
    "MTPCovPool",
    "PCANorm",
]
