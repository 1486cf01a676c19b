"""Compare heads, and compare norms, on real images at equal budget: what ``make demo`` runs.

Every variant has the recipe of ``configs/digits.yaml``, but for what ``COMPARISONS`` says: the same
images, augmentation, batches, optimiser and epochs, and for each seed the same initial trunk. The
weights that are tested are those at the end of the training.
"""

import json
import logging
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path

import matplotlib
import numpy as np
import torch
from jsonargparse import auto_cli
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from checks import choose
from data import Digits
from report import COLOURS, STYLE, draw_confusion, draw_curve, read_curves, save
from trial import EPOCHS, TARGET, Options, Trial, train

COMPARISONS: dict[str, dict[str, Options]] = {
    "heads": {head: {"head": head} for head in ("avg", "isqrt", "mpa")},
    "norms": {
        "batch": {"head": "avg"},
        "decorrelated": {"head": "avg", "norm": "decorrelated", "norm_options": {"num_groups": 4}},
    },
}


def table(results: dict[str, list[Trial]]) -> str:
    """What every variant came to over the seeds, mean and deviation, as a Markdown table."""
    lines = [
        f"| {'variant':12} | test accuracy, % | epochs to {TARGET:.0%} | parameters | seconds |",
        "|---|---|---|---|---|",
    ]
    for variant, trials in results.items():
        accuracy = 100 * np.array([trial.test_accuracy for trial in trials])
        epochs = ", ".join(str(trial.epochs_to_target or "-") for trial in trials)
        seconds = np.mean([trial.seconds for trial in trials])
        lines.append(
            f"| {variant:12} | {accuracy.mean():8.2f} ± {accuracy.std():.2f}  | {epochs:>13} "
            f"| {trials[0].parameters:10,} | {seconds:7.1f} |"
        )
    return "\n".join(lines)


def draw(results: dict[str, list[Trial]], output: Path) -> None:
    """Draw the learning curves of all variants, and a confusion matrix of each over all seeds."""
    with matplotlib.rc_context(STYLE):
        curves = Figure(figsize=(9, 3.8), layout="constrained")
        loss, accuracy = curves.subplots(1, 2)
        matrices = Figure(figsize=(4 * len(results), 4.2), layout="constrained")
        panels = matrices.subplots(1, len(results), squeeze=False)[0]
        for (variant, trials), colour, panel in zip(results.items(), COLOURS, panels, strict=False):
            logs = [read_curves(Path(trial.metrics)) for trial in trials]
            draw_curve(loss, [log["train_loss"] for log in logs], variant, colour)
            draw_curve(accuracy, [log["val_accuracy"] for log in logs], variant, colour)
            matrix = np.sum([trial.confusion for trial in trials], axis=0)
            draw_confusion(panel, matrix, Digits.class_names)
            wrong = int(matrix.sum() - matrix.trace())
            panel.set_title(f"{variant}: {wrong} of {matrix.sum():,} wrong")
        loss.set(title="Training loss", ylim=(0, None))
        accuracy.set(title="Validation accuracy", ylim=(0.9, 1.002))
        accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        accuracy.legend(loc="lower right")
        save(curves, output / "learning_curves.png")
        save(matrices, output / "confusion.png")


Known = list[tuple[Options, Trial]]
"""Trainings so far, as a variant may be in several comparisons."""


def compare_variants(
    variants: dict[str, Options], seeds: tuple[int, ...], epochs: int, output: Path, known: Known
) -> None:
    """One comparison, in a folder of its own."""
    results: dict[str, list[Trial]] = {variant: [] for variant in variants}
    for seed in seeds:
        for variant, options in variants.items():
            same = (trial for done, trial in known if done == options and trial.seed == seed)
            trial = next(same, None) or train(variant, options, seed, epochs, output)
            known.append((options, trial))
            results[variant].append(replace(trial, variant=variant))
            print(
                f"{variant:12} seed {seed}: test accuracy {trial.test_accuracy:.2%}, "
                f"{trial.seconds:.1f} s",
                flush=True,
            )
    draw(results, output)
    numbers = {
        "torch": torch.__version__,
        "epochs": epochs,
        "runs": [asdict(trial) for trials in results.values() for trial in trials],
    }
    (output / "results.json").write_text(json.dumps(numbers, indent=2) + "\n")
    print(f"\n{table(results)}\n\nFigures and results.json are in {output}\n", flush=True)


def compare(
    comparisons: tuple[str, ...] = tuple(COMPARISONS),
    seeds: tuple[int, ...] = (0, 1, 2),
    epochs: int = EPOCHS,
    output: Path = Path("logs/demo"),
) -> None:
    """Train every variant with every seed, then print a table and write figures and numbers.

    Args:
        comparisons: heads, norms or both.
        seeds: which seeds; each gives the initial weights, the order and the augmentation.
        epochs: of every training.
        output: a folder, with one in it for the figures and the numbers of each comparison.
    """
    torch.set_num_threads(1)  # little gain from more here, and long waits where cores are busy
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
    chosen = {name: choose("comparisons", COMPARISONS, name) for name in comparisons}
    start = time.perf_counter()
    known: Known = []
    for name, variants in chosen.items():
        compare_variants(variants, seeds, epochs, output / name, known)
    print(f"{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    auto_cli(compare, as_positional=False)
