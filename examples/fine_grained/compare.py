"""Compare average pooling with covariance poolings at equal budget."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

from common.compare import Experiment
from common.trial import Recipe
from data import Patches
from main import PATCHES
from module import FineGrainedClassifier

EXPERIMENT = Experiment(
    "fine_grained",
    Recipe(PATCHES, FineGrainedClassifier, Patches, target=0.75),
    {"heads": {head: {"head": head} for head in ("avg", "isqrt", "mpa", "log")}},
)

if __name__ == "__main__":
    EXPERIMENT.run()
