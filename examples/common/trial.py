"""One training of a comparison: the recipe of a configuration, except some options."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from pytorch_lightning import (
    Callback,
    LightningDataModule,
    LightningModule,
    Trainer,
    seed_everything,
)
from pytorch_lightning.loggers import CSVLogger

from common.report import read_curves
from common.reproducible import EpochSeed

Options = dict[str, Any]
"""What a variant changes of the recipe's model."""


@dataclass(frozen=True)
class Trial:
    """What one training came to."""

    variant: str
    seed: int
    test_accuracy: float
    epochs_to_target: int | None
    parameters: int
    seconds: float
    confusion: list[list[int]]
    metrics: str

    def __str__(self) -> str:
        return f"test accuracy {self.test_accuracy:.2%}, {self.seconds:.1f} s"


class Run(NamedTuple):
    """A model that is trained and tested, what it logged, and how long both took."""

    model: LightningModule
    trainer: Trainer
    metrics: Path
    seconds: float


class Recipe:
    """How to train, from a configuration of the command line.

    Args:
        config: the file.
        model: what its ``model`` builds.
        data: what its ``data`` builds.
        target: the validation accuracy to which epochs are counted.
    """

    def __init__(
        self,
        config: Path,
        model: type[LightningModule],
        data: type[LightningDataModule],
        target: float = 0.95,
    ) -> None:
        options = yaml.safe_load(config.read_text())
        self.model, self.model_options = model, options["model"]
        self.data, self.data_options = data, options["data"]["init_args"]
        self.target = target
        self.epochs: int = options["trainer"]["max_epochs"]
        self.log_every_n_steps: int = options["trainer"]["log_every_n_steps"]
        self.gradient_clip_val: float | None = options["trainer"].get("gradient_clip_val")

    @property
    def class_names(self) -> list[str]:
        return list(self.data.class_names)

    def run(
        self,
        variant: str,
        options: Options,
        seed: int,
        epochs: int,
        output: Path,
        *callbacks: Callback,
    ) -> Run:
        """Train and test one variant."""
        start = time.perf_counter()
        seed_everything(seed, verbose=False)
        data = self.data(**self.data_options)
        model = self.model(**self.model_options | options)
        logger = CSVLogger(output, name="runs", version=f"{variant}_{seed}")
        trainer = Trainer(
            max_epochs=epochs,
            logger=logger,
            callbacks=[EpochSeed(), *callbacks],
            log_every_n_steps=self.log_every_n_steps,
            gradient_clip_val=self.gradient_clip_val,
            num_sanity_val_steps=0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, data)
        trainer.test(model, data, verbose=False)
        seconds = time.perf_counter() - start
        return Run(model, trainer, Path(logger.log_dir) / "metrics.csv", seconds)

    def train(self, variant: str, options: Options, seed: int, epochs: int, output: Path) -> Trial:
        """Train and test one variant, and say what it came to."""
        model, trainer, metrics, seconds = self.run(variant, options, seed, epochs, output)
        epoch, accuracy = read_curves(metrics)["val_accuracy"]
        return Trial(
            variant,
            seed,
            trainer.callback_metrics["test_accuracy"].item(),
            next(map(int, epoch[accuracy >= np.float32(self.target)]), None),
            sum(weight.numel() for weight in model.parameters()),
            seconds,
            model.confusion.compute().tolist(),
            str(metrics),
        )
