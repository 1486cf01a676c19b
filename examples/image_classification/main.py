"""Train, test or apply an image classifier with a covariance pooling head.

Without arguments it trains on the digits of scikit-learn, as configs/digits.yaml says; another
``--config`` takes the place of that file. For example:

    python main.py fit --config configs/cifar10_resnet18.yaml --model.head=mpa
    python main.py test --ckpt_path logs/digits/version_0/checkpoints/best.ckpt
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

import common.image_data  # noqa: F401 (its classes are the values of --data)
from common.classifier_cli import ClassifierCli
from common.images import Images
from module import ImageClassifier

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


def cli(args: list[str] | None = None) -> ClassifierCli:
    """Run a command; by default the command line of the process."""
    return ClassifierCli.run(ImageClassifier, Images, DIGITS, args)


if __name__ == "__main__":
    cli()
