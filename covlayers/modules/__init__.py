"""Layers: state and shapes over :mod:`covlayers.functional`."""

from covlayers.modules.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.group_whitening import GroupWhitening
from covlayers.modules.pca_norm import PCANorm
from covlayers.modules.pooling import CovPool
from covlayers.modules.pooling_presets import ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool
from covlayers.modules.switchable_whitening import SwitchableWhitening
from covlayers.modules.whitening_presets import CholeskyWhitening, PCAWhitening, ZCAWhitening

__all__ = [
    "CholeskyWhitening",
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
]
