"""Layers: state and shapes over :mod:`covlayers.functional`."""

from covlayers.modules.data.whitening import CholeskyWhitening, PCAWhitening, ZCAWhitening
from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.norms.group_whitening import GroupWhitening
from covlayers.modules.norms.pca_norm import PCANorm
from covlayers.modules.norms.switchable_whitening import SwitchableWhitening
from covlayers.modules.pooling.attention import CovAttention
from covlayers.modules.pooling.covariance_pooling import CovPool
from covlayers.modules.pooling.cross_pooling import CrossCovPool
from covlayers.modules.pooling.power_norm import SVPowerNorm
from covlayers.modules.pooling.presets import ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool
from covlayers.modules.pooling.second_order_head import SecondOrderHead
from covlayers.modules.style.losses import ColoringOrthogonalityLoss, WhiteningLoss
from covlayers.modules.style.variants import AdaIN, GroupWhiteningColoring
from covlayers.modules.style.whitening_coloring import WhiteningColoring
from covlayers.modules.video.tcp_pooling import TCPCovPool
from covlayers.modules.video.temporal_attention import (
    TemporalChannelAttention,
    TemporalSpatialAttention,
)
from covlayers.modules.video.temporal_conv import TemporalConv
from covlayers.modules.video.temporal_pooling import AttentiveTemporalCovPool

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
    "TCPCovPool",
    "TemporalChannelAttention",
    "TemporalConv",
    "TemporalSpatialAttention",
    "WhiteningColoring",
    "WhiteningLoss",
    "ZCAWhitening",
]
