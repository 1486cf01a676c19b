"""Compare heads, and compare stems, on real images at equal budget."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

from common.compare import Experiment
from common.image_data import Digits
from common.trial import Recipe
from main import DIGITS
from module import SecondOrderViTClassifier

CLASS_TOKEN = {"head": "class_token"}
MPA = {"head": "mpa"}
PATCH = {"stem": "patch"}

EXPERIMENT = Experiment(
    "vit",
    Recipe(DIGITS, SecondOrderViTClassifier, Digits),
    {
        "heads": {
            "class_token": CLASS_TOKEN,
            "avg": {"head": "avg"},
            "mpa": MPA,
            "cross": {"head": "cross", "reduced_channels": 16},
        },
        "stems": {
            "patch_class": CLASS_TOKEN | PATCH,
            "patch_mpa": MPA | PATCH,
            "conv_class": CLASS_TOKEN,
            "conv_mpa": MPA,
        },
    },
)

if __name__ == "__main__":
    EXPERIMENT.run()
