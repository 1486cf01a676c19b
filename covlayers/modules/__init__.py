"""Layers: state and shapes over :mod:`covlayers.functional`."""

from covlayers.modules.pooling import CovPool
from covlayers.modules.pooling_presets import ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool

__all__ = ["CovPool", "ISQRTCovPool", "MPACovPool", "MPNCovPool", "MTPCovPool"]
