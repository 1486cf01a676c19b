"""Train, test or apply a video classifier with attentive temporal covariance pooling.

Without arguments it trains on moving digits, as configs/moving_digits.yaml says; another
``--config`` takes the place of that file. For example:

    python main.py fit --model.head=order_free
    python main.py fit --config configs/ucf101.yaml --data.root=data/ucf101
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

import actions  # noqa: F401 (its classes are values of --data)
from common.classifier_cli import ClassifierCli
from common.data import LabelledData
from covlayers import CovPool
from covlayers.modules.video.temporal_attention import TemporalSpatialAttention
from data import MovingDigits
from figures import draw_attention, draw_spectra
from module import VideoClassifier

MOVING_DIGITS = Path(__file__).parent / "configs" / "moving_digits.yaml"


class VideoCli(ClassifierCli):
    """The command line of the examples, with figures of the covariances and of the attention."""

    def draw(self, run: Path) -> None:
        super().draw(run)
        pool = self.model.network.pool
        if isinstance(pool.pool, CovPool):
            draw_spectra(self.model, self.datamodule, run / "spectrum.png")
        attends = isinstance(pool.spatial_attention, TemporalSpatialAttention)
        if attends and isinstance(self.datamodule, MovingDigits):
            draw_attention(self.model, self.datamodule, run / "attention.png")


def cli(args: list[str] | None = None) -> VideoCli:
    """Run a command; by default the command line of the process."""
    return VideoCli.run(VideoClassifier, LabelledData, MOVING_DIGITS, args)


if __name__ == "__main__":
    cli()
