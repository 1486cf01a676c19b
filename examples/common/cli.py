"""The command line of the examples: train, test or apply a classifier, and report on it."""

import csv
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger

from common.report import report
from common.reproducible import EpochSeed

BEST = {"filename": "best", "monitor": "val_accuracy", "mode": "max"}
LAST = {"filename": "last"}
AT_EPOCH_END = {"save_on_train_epoch_end": True, "enable_version_counter": False}


class Cli(LightningCLI):
    """Lightning's command line, with a report after ``fit`` and a file of predictions."""

    @classmethod
    def run(
        cls,
        model: type[LightningModule],
        data: type[LightningDataModule],
        default: Path,
        args: list[str] | None = None,
    ) -> Self:
        """Run a command.

        Args:
            model: what ``--model`` configures.
            data: base of what ``--data`` chooses from.
            default: the configuration that holds where none is given.
            args: the command line; by default that of the process, and ``fit`` if that is empty.
        """
        warnings.filterwarnings("ignore", message=".*(many workers|persistent_workers)")
        arguments = args or sys.argv[1:] or ["fit"]
        configured = any(argument.split("=")[0] in ("-c", "--config") for argument in arguments)
        defaults = {"default_config_files": [] if configured else [str(default)]}
        checkpoints = [ModelCheckpoint(**which, **AT_EPOCH_END) for which in (BEST, LAST)]
        return cls(
            model,
            data,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            trainer_defaults={"callbacks": [EpochSeed(), *checkpoints]},
            parser_kwargs={command: defaults for command in cls.subcommands()},
            args=None if arguments == sys.argv[1:] else arguments,
        )

    def before_fit(self) -> None:
        if find_spec("tensorboard") and not self.trainer.fast_dev_run:
            tensorboard = TensorBoardLogger(self.trainer.log_dir, name="", version="")
            self.trainer.loggers = [*self.trainer.loggers, tensorboard]

    def after_fit(self) -> None:
        if self.trainer.fast_dev_run:
            return
        best = self.trainer.checkpoint_callback.best_model_path
        self.trainer.test(self.model, self.datamodule, ckpt_path=best)
        run = Path(self.trainer.log_dir)  # a broadcast, so every process asks
        if self.trainer.is_global_zero:
            self.draw(run)
            figures = ", ".join(sorted(path.name for path in run.glob("*.png")))
            print(f"Checkpoints, metrics and {figures} are in {run}")

    def draw(self, run: Path) -> None:
        """Draw the curves and the confusion matrix; an example may add figures."""
        matrix = self.model.confusion.compute().cpu().numpy()
        report(run / "metrics.csv", matrix, self.datamodule.class_names, run / "report.png")

    def predict(self, **options: Any) -> None:
        """Write the class and the probability of every test sample to ``predictions.csv``."""
        batches = self.trainer.predict(**options)
        if self.trainer.fast_dev_run:
            return
        path = Path(self.trainer.log_dir) / "predictions.csv"
        with path.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["class", "probability"])
            for batch in batches:
                labels = (self.datamodule.class_names[label] for label in batch["class"])
                table.writerows(zip(labels, batch["probability"].tolist(), strict=True))
        print(f"Predictions are in {path}")
