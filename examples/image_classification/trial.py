"""One training of a comparison, by the recipe of ``configs/digits.yaml`` but for some options."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger

from data import Digits
from module import ImageClassifier
from report import read_curves
from reproducible import EpochSeed

RECIPE = yaml.safe_load((Path(__file__).parent / "configs" / "digits.yaml").read_text())
EPOCHS: int = RECIPE["trainer"]["max_epochs"]

Options = dict[str, Any]
"""What a variant changes of the recipe's model."""

TARGET = 0.95
"""The validation accuracy to which epochs are counted."""


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


def train(variant: str, options: Options, seed: int, epochs: int, output: Path) -> Trial:
    """Train and test one variant."""
    start = time.perf_counter()
    seed_everything(seed, verbose=False)
    digits = Digits(**RECIPE["data"]["init_args"])
    model = ImageClassifier(**RECIPE["model"] | options)
    logger = CSVLogger(output, name="runs", version=f"{variant}_{seed}")
    trainer = Trainer(
        max_epochs=epochs,
        logger=logger,
        callbacks=[EpochSeed()],
        log_every_n_steps=RECIPE["trainer"]["log_every_n_steps"],
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, digits)
    trainer.test(model, digits, verbose=False)
    metrics = Path(logger.log_dir) / "metrics.csv"
    epoch, accuracy = read_curves(metrics)["val_accuracy"]
    return Trial(
        variant,
        seed,
        trainer.callback_metrics["test_accuracy"].item(),
        next(map(int, epoch[accuracy >= np.float32(TARGET)]), None),
        sum(weight.numel() for weight in model.parameters()),
        time.perf_counter() - start,
        model.confusion.compute().tolist(),
        str(metrics),
    )
