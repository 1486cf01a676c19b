"""Operations on whole models: put our layers in, watch and calibrate them, fold them away."""

from covlayers.surgery.conditioning import ConditioningMonitor
from covlayers.surgery.convert import convert_batchnorm, convert_sync
from covlayers.surgery.folding import fold
from covlayers.surgery.heads import replace_head
from covlayers.surgery.statistics import freeze_stats, recalibrate

__all__ = [
    "ConditioningMonitor",
    "convert_batchnorm",
    "convert_sync",
    "fold",
    "freeze_stats",
    "recalibrate",
    "replace_head",
]
