"""Train, test or apply a network that gives a picture the style of another.

Without arguments it trains on photographs that come with scikit-image and scikit-learn, as
configs/photos.yaml says; another ``--config`` takes the place of that file. For example:

    python main.py fit --model.num_groups=4 --model.backward=smith
    python main.py predict --ckpt_path logs/photos/version_0/checkpoints/best.ckpt
"""

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

import folders  # noqa: F401 (its class is a value of --data)
from common.cli import Cli
from data import StyleData
from figures import TRANSFER, Grids, draw_grid, report, transferred
from module import StyleModel
from pictures import write

PHOTOS = Path(__file__).parent / "configs" / "photos.yaml"


class StyleCli(Cli):
    """The command line of the examples, with pictures of every epoch and of the test."""

    monitor, mode = "val_loss", "min"

    def before_fit(self) -> None:
        super().before_fit()
        self.trainer.callbacks.append(Grids())

    def draw(self, run: Path) -> None:
        report(run / "metrics.csv", len(self.model.network.hops), run / "report.png")
        draw_grid(
            transferred(self.model, self.datamodule.splits["test"]), TRANSFER, run / "test.png"
        )

    def predict(self, **options: Any) -> None:
        """Write every test content in every test style to the folder of the run."""
        batches = self.trainer.predict(**options)
        if self.trainer.fast_dev_run:
            return
        run = Path(self.trainer.log_dir)
        run.mkdir(parents=True, exist_ok=True)
        outputs = (picture for batch in batches for picture in batch.float().cpu())
        names = self.datamodule.splits["test"].names
        for (content, style), picture in zip(names, outputs, strict=True):
            write(picture, run / f"{content}_as_{style}.png")
        print(f"{len(names)} pictures are in {run}")


def cli(args: list[str] | None = None) -> StyleCli:
    """Run a command; by default the command line of the process."""
    return StyleCli.run(StyleModel, StyleData, PHOTOS, args)


if __name__ == "__main__":
    cli()
