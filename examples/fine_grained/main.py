"""Train, test or apply a fine-grained classifier with a covariance pooling head.

Without arguments it trains on patches of scikit-image's pictures, as configs/patches.yaml says;
another ``--config`` takes the place of that file. For example:

    python main.py fit --config configs/dtd.yaml --data.download=true
    python main.py fit --config configs/cub.yaml --model.init_from=imagenet/best.ckpt
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

import photographs  # noqa: F401 (its classes are values of --data)
from common.classifier_cli import ClassifierCli
from common.images import Images
from covlayers import CovPool
from data import Patches
from figures import draw_patches, draw_spectra
from module import FineGrainedClassifier

PATCHES = Path(__file__).parent / "configs" / "patches.yaml"


class FineGrainedCli(ClassifierCli):
    """The command line of the examples, with figures of the patches and of the covariances."""

    def draw(self, run: Path) -> None:
        super().draw(run)
        if isinstance(self.datamodule, Patches):
            draw_patches(self.datamodule, run / "patches.png")
        if isinstance(self.model.network.pool, CovPool):
            draw_spectra(self.model, self.datamodule, run / "spectrum.png")


def cli(args: list[str] | None = None) -> FineGrainedCli:
    """Run a command; by default the command line of the process."""
    return FineGrainedCli.run(FineGrainedClassifier, Images, PATCHES, args)


if __name__ == "__main__":
    cli()
