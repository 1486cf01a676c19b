"""Layers: state and shapes over :mod:`covlayers.functional`."""

from covlayers.modules.attention import CovAttention
from covlayers.modules.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.cross_pooling import CrossCovPool
from covlayers.modules.group_whitening import GroupWhitening
from covlayers.modules.pca_norm import PCANorm
from covlayers.modules.pooling import CovPool
from covlayers.modules.pooling_presets import ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool
from covlayers.modules.power_norm import SVPowerNorm
from covlayers.modules.style import WhiteningColoring
from covlayers.modules.style_losses import ColoringOrthogonalityLoss, WhiteningLoss
from covlayers.modules.style_variants import AdaIN, GroupWhiteningColoring
from covlayers.modules.switchable_whitening import SwitchableWhitening
from covlayers.modules.temporal import AttentiveTemporalCovPool
from covlayers.modules.temporal_attention import (
    TemporalChannelAttention,
    TemporalConv,
    TemporalSpatialAttention,
)
from covlayers.modules.vision_transformer import SecondOrderHead
from covlayers.modules.whitening_presets import CholeskyWhitening, PCAWhitening, ZCAWhitening

__all__ = [
    "AdaIN",
    "AttentiveTemporalCovPool",
    "CholeskyWhitening",
    "ColoringOrthogonalityLoss",
    "CovAttention",
    "CovPool",
    "CrossCovPool",
    "DecorrelatedBatchNorm",
    "GroupWhitening",
    "GroupWhiteningColoring",
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
    "TemporalChannelAttention",
    "TemporalConv",
    "TemporalSpatialAttention",
    "WhiteningColoring",
    "WhiteningLoss",
    "ZCAWhitening",
]
