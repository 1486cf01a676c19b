"""Train, test or apply a second-order vision transformer.

Without arguments it trains on the digits of scikit-learn, as configs/digits.yaml says; another
``--config`` takes the place of that file. For example:

    python main.py fit --config configs/cifar100.yaml --model.head=mpa --model.reduced_channels=48
    python main.py test --ckpt_path logs/digits/version_0/checkpoints/best.ckpt
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

import common.image_data  # noqa: F401 (its classes are the values of --data)
import figures
from common.classifier_cli import ClassifierCli
from common.images import Images
from module import SecondOrderViTClassifier

DIGITS = Path(__file__).parent / "configs" / "digits.yaml"


class ViTCli(ClassifierCli):
    """The command line with figures of what the head takes."""

    def draw(self, run: Path) -> None:
        """Draw the report, and what the head takes of the test images."""
        super().draw(run)
        figures.draw(self.model, self.datamodule, run)


def cli(args: list[str] | None = None) -> ClassifierCli:
    """Run a command; by default the command line of the process."""
    return ViTCli.run(SecondOrderViTClassifier, Images, DIGITS, args)


if __name__ == "__main__":
    cli()
