"""The command line of classifiers: their accuracy chooses the epoch, and they name classes."""

import csv
from pathlib import Path
from typing import Any

from common.cli import Cli
from common.report import report


class ClassifierCli(Cli):
    """The command line of the examples, with a confusion matrix and a file of predictions."""

    monitor, mode = "val_accuracy", "max"

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
