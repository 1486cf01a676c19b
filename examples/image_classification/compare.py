"""Compare heads, and compare norms, on real images at equal budget: what ``make demo`` runs."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

from common.compare import Experiment
from common.image_data import Digits
from common.trial import Recipe
from main import DIGITS
from module import ImageClassifier

EXPERIMENT = Experiment(
    "demo",
    Recipe(DIGITS, ImageClassifier, Digits),
    {
        "heads": {head: {"head": head} for head in ("avg", "isqrt", "mpa")},
        "norms": {
            "batch": {"head": "avg"},
            "decorrelated": {
                "head": "avg",
                "norm": "decorrelated",
                "norm_options": {"num_groups": 4},
            },
        },
    },
)

if __name__ == "__main__":
    EXPERIMENT.run()
