"""Comparisons of variants on real data at equal budget.

Every variant has the recipe of a configuration, except what the comparison says: the same data,
augmentation, batches, optimiser and epochs, and for each seed the same initial weights where
variants share layers. The weights at the end of the training are tested.
"""

import json
import logging
import time
import warnings
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
import torch
from jsonargparse import ArgumentParser
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from common.checks import choose
from common.report import COLOURS, STYLE, Curve, draw_confusion, draw_curve, read_curves, save
from common.trial import Options, Recipe, Trial

Results = dict[str, list[Trial]]
"""What the trainings of each variant came to, a training for each seed."""


def table(results: Results, target: float) -> str:
    """What every variant came to over the seeds, mean and deviation, as a Markdown table."""
    lines = [
        f"| {'variant':14} | test accuracy, % | epochs to {target:.0%} | parameters | seconds |",
        "|---|---|---|---|---|",
    ]
    for variant, trials in results.items():
        accuracy = 100 * np.array([trial.test_accuracy for trial in trials])
        epochs = ", ".join(str(trial.epochs_to_target or "-") for trial in trials)
        seconds = np.mean([trial.seconds for trial in trials])
        lines.append(
            f"| {variant:14} | {accuracy.mean():8.2f} ± {accuracy.std():.2f}  | {epochs:>13} "
            f"| {trials[0].parameters:10,} | {seconds:7.1f} |"
        )
    return "\n".join(lines)


def draw(results: Results, class_names: list[str], output: Path) -> None:
    """Draw the learning curves of all variants, and a confusion matrix of each over all seeds."""
    with matplotlib.rc_context(STYLE):
        curves = Figure(figsize=(9, 3.8), layout="constrained")
        loss, accuracy = curves.subplots(1, 2)
        side = max(4.0, 0.5 * len(class_names))
        matrices = Figure(figsize=(side * len(results), side + 0.2), layout="constrained")
        panels = matrices.subplots(1, len(results), squeeze=False)[0]
        final: list[float] = []
        drawn = zip(results.items(), cycle(COLOURS), panels, strict=False)
        for (variant, trials), colour, panel in drawn:
            logs = [read_curves(Path(trial.metrics)) for trial in trials]
            validation: list[Curve] = [log["val_accuracy"] for log in logs]
            draw_curve(loss, [log["train_loss"] for log in logs], variant, colour)
            draw_curve(accuracy, validation, variant, colour)
            final += [values[-1] for _, values in validation]
            matrix = np.sum([trial.confusion for trial in trials], axis=0)
            draw_confusion(panel, matrix, class_names)
            wrong = int(matrix.sum() - matrix.trace())
            panel.set_title(f"{variant}: {wrong} of {matrix.sum():,} wrong")
        loss.set(title="Training loss", ylim=(0, None))
        lowest = max(0.0, 1 - 4 * (1 - min(final)))
        accuracy.set(title="Validation accuracy", ylim=(min(lowest, 0.9), 1.002))
        accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        accuracy.legend(loc="best")
        save(curves, output / "learning_curves.png")
        save(matrices, output / "confusion.png")


Known = list[tuple[Options, Trial]]
"""Trainings so far, as a variant may be in several comparisons."""


@dataclass(frozen=True)
class Experiment:
    """Comparisons that share a recipe, under a name."""

    name: str
    recipe: Recipe
    comparisons: dict[str, dict[str, Options]]

    def compare_variants(
        self,
        variants: dict[str, Options],
        seeds: tuple[int, ...],
        epochs: int,
        output: Path,
        known: Known,
    ) -> Results:
        """One comparison, in a folder of its own."""
        results: Results = {variant: [] for variant in variants}
        for seed in seeds:
            for variant, options in variants.items():
                same = (trial for done, trial in known if done == options and trial.seed == seed)
                trial = next(same, None) or self.recipe.train(
                    variant, options, seed, epochs, output
                )
                known.append((options, trial))
                results[variant].append(replace(trial, variant=variant))
                print(f"{variant:14} seed {seed}: {trial}", flush=True)
        self.draw(results, output)
        numbers = {
            "torch": torch.__version__,
            "epochs": epochs,
            "runs": [asdict(trial) for trials in results.values() for trial in trials],
        }
        (output / "results.json").write_text(json.dumps(numbers, indent=2) + "\n")
        print(f"\n{self.table(results)}\n\nFigures and results.json are in {output}\n", flush=True)
        return results

    def table(self, results: Results) -> str:
        """What every variant came to, as a Markdown table."""
        return table(results, self.recipe.target)

    def draw(self, results: Results, output: Path) -> None:
        """Draw what every variant came to."""
        draw(results, self.recipe.class_names, output)

    def compare(
        self,
        comparisons: tuple[str, ...] = (),
        seeds: tuple[int, ...] = (0, 1, 2),
        epochs: int | None = None,
        output: Path | None = None,
    ) -> None:
        """Train every variant with every seed, then print a table and write figures and numbers.

        Args:
            comparisons: which; by default all.
            seeds: which seeds; each gives the initial weights, the order and the augmentation.
            epochs: of every training; by default as many as the recipe says.
            output: a folder, with one in it for the figures and the numbers of each comparison; by
                default the folder of the name in ``logs``.
        """
        torch.set_num_threads(1)  # little gain from more here, and long waits where cores are busy
        for name in ("pytorch_lightning", "lightning_fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        names = comparisons or tuple(self.comparisons)
        chosen = {name: choose("comparisons", self.comparisons, name) for name in names}
        start = time.perf_counter()
        epochs = epochs or self.recipe.epochs
        folder = output or Path("logs") / self.name
        known: Known = []
        for name, variants in chosen.items():
            self.compare_variants(variants, seeds, epochs, folder / name, known)
        print(f"{time.perf_counter() - start:.0f} s in all")

    def run(self) -> None:
        """The command line of :meth:`compare`."""
        parser = ArgumentParser(description=Experiment.compare.__doc__.splitlines()[0])
        parser.add_method_arguments(Experiment, "compare", as_positional=False)
        options = parser.parse_args()
        self.compare(**parser.instantiate_classes(options).as_dict())
