"""Compare pooling heads on real images at equal budget: what ``make demo`` runs.

Every head has the recipe of ``configs/digits.yaml``: the same trunk, images, augmentation, batches,
optimiser and epochs. The weights that are tested are those at the end of the training.
"""

import json
import logging
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
import yaml
from jsonargparse import auto_cli
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import CSVLogger

from data import Digits
from module import ImageClassifier
from report import COLOURS, STYLE, draw_confusion, draw_curve, read_curves, save
from reproducible import EpochSeed

RECIPE = yaml.safe_load((Path(__file__).parent / "configs" / "digits.yaml").read_text())
EPOCHS: int = RECIPE["trainer"]["max_epochs"]


@dataclass(frozen=True)
class Run:
    """What one training came to."""

    head: str
    seed: int
    test_accuracy: float
    val_accuracy: float
    parameters: int
    seconds: float
    confusion: list[list[int]]
    metrics: str


def train(head: str, seed: int, epochs: int, output: Path) -> Run:
    """Train and test one head."""
    start = time.perf_counter()
    seed_everything(seed, verbose=False)
    digits = Digits(**RECIPE["data"]["init_args"])
    model = ImageClassifier(**RECIPE["model"] | {"head": head})
    logger = CSVLogger(output, name="runs", version=f"{head}_{seed}")
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
    val_accuracy = trainer.callback_metrics["val_accuracy"].item()
    trainer.test(model, digits, verbose=False)
    return Run(
        head,
        seed,
        trainer.callback_metrics["test_accuracy"].item(),
        val_accuracy,
        sum(weight.numel() for weight in model.parameters()),
        time.perf_counter() - start,
        model.confusion.compute().tolist(),
        f"{logger.log_dir}/metrics.csv",
    )


def table(results: dict[str, list[Run]]) -> str:
    """The mean and the deviation of every head's accuracy over the seeds, as a Markdown table."""
    lines = ["| head  | test accuracy, % | parameters | seconds |", "|---|---|---|---|"]
    for head, runs in results.items():
        accuracy = 100 * np.array([run.test_accuracy for run in runs])
        seconds = np.mean([run.seconds for run in runs])
        lines.append(
            f"| {head:5} | {accuracy.mean():6.2f} ± {accuracy.std():.2f}    "
            f"| {runs[0].parameters:10,} | {seconds:7.1f} |"
        )
    return "\n".join(lines)


def draw(results: dict[str, list[Run]], output: Path) -> None:
    """Draw the learning curves of all heads, and a confusion matrix of each, summed over seeds."""
    with matplotlib.rc_context(STYLE):
        curves = Figure(figsize=(9, 3.8), layout="constrained")
        loss, accuracy = curves.subplots(1, 2)
        matrices = Figure(figsize=(4 * len(results), 4.2), layout="constrained")
        panels = matrices.subplots(1, len(results), squeeze=False)[0]
        for (head, runs), colour, panel in zip(results.items(), COLOURS, panels, strict=False):
            logs = [read_curves(Path(run.metrics)) for run in runs]
            draw_curve(loss, [log["train_loss"] for log in logs], head, colour)
            draw_curve(accuracy, [log["val_accuracy"] for log in logs], head, colour)
            matrix = np.sum([run.confusion for run in runs], axis=0)
            draw_confusion(panel, matrix, Digits.class_names)
            wrong = int(matrix.sum() - matrix.trace())
            panel.set_title(f"{head}: {wrong} of {matrix.sum():,} wrong")
        loss.set(title="Training loss", ylim=(0, None))
        accuracy.set(title="Validation accuracy", ylim=(0.9, 1.002))
        accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        accuracy.legend(loc="lower right")
        save(curves, output / "learning_curves.png")
        save(matrices, output / "confusion.png")


def compare(
    heads: tuple[str, ...] = ("avg", "isqrt", "mpa"),
    seeds: tuple[int, ...] = (0, 1, 2),
    epochs: int = EPOCHS,
    output: Path = Path("logs/demo"),
) -> None:
    """Train every head with every seed, then print a table and write figures and numbers.

    Args:
        heads: which heads.
        seeds: which seeds; each gives the initial weights, the order and the augmentation.
        epochs: of every training.
        output: folder of the figures and of ``results.json``.
    """
    torch.set_num_threads(1)  # little gain from more here, and long waits where cores are busy
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    start = time.perf_counter()
    results: dict[str, list[Run]] = {head: [] for head in heads}
    for seed in seeds:
        for head in heads:
            run = train(head, seed, epochs, output)
            results[head].append(run)
            print(
                f"{head:5} seed {seed}: test accuracy {run.test_accuracy:.2%}, {run.seconds:.1f} s",
                flush=True,
            )
    draw(results, output)
    numbers = {
        "torch": torch.__version__,
        "epochs": epochs,
        "runs": [asdict(run) for runs in results.values() for run in runs],
    }
    (output / "results.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(f"\n{table(results)}\n")
    print(f"{time.perf_counter() - start:.0f} s in all; figures and results.json are in {output}")


if __name__ == "__main__":
    auto_cli(compare, as_positional=False)
