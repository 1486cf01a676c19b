"""Compare what frames may tell each other, and mean with covariance, at equal budget."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

from common.compare import Experiment
from common.trial import Recipe
from data import MovingDigits
from main import MOVING_DIGITS
from module import VideoClassifier

EXPERIMENT = Experiment(
    "video",
    Recipe(MOVING_DIGITS, VideoClassifier, MovingDigits),
    {
        "heads": {
            "single_frame": {"head": "single_frame"},
            "avg": {"head": "order_free", "pool": "avg"},
            "cov": {"head": "order_free"},
            "temporal_avg": {"pool": "avg"},
            "attentive": {},
        },
    },
)

if __name__ == "__main__":
    EXPERIMENT.run()
