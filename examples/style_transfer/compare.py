"""Compare how the hops compute and differentiate, and what they take of a style."""

import sys
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for what the examples have in common

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from pytorch_lightning.callbacks import Timer

import flat
from common.compare import Experiment
from common.report import COLOURS, STYLE, draw_curve, read_curves, save
from common.trial import Options, Recipe
from data import Photos
from figures import draw_grid, transferred
from main import PHOTOS
from module import StyleModel
from pictures import read, write

EPOCHS = 2
"""Epochs of every training, a fifth of the recipe's epochs."""


@dataclass(frozen=True)
class Outcome:
    """What one training came to."""

    variant: str
    seed: int
    style_distance: float
    untransferred: float
    style_gain: float
    ssim: float
    nonfinite_steps: int
    steps: int
    seconds_per_step: float
    parameters: int
    seconds: float
    metrics: str

    def __str__(self) -> str:
        return (
            f"style distance {self.style_distance:.3f}, SSIM {self.ssim:.3f}, "
            f"{self.nonfinite_steps} of {self.steps} steps left out, {self.seconds:.1f} s"
        )


Outcomes = dict[str, list[Outcome]]
"""What the trainings of each variant came to, one for each seed."""


class StyleRecipe(Recipe):
    """The recipe of the configuration, for fewer epochs."""

    def __init__(self) -> None:
        super().__init__(PHOTOS, StyleModel, Photos)
        self.epochs = EPOCHS

    def train(
        self, variant: str, options: Options, seed: int, epochs: int, output: Path
    ) -> Outcome:
        """Train and test one variant, and keep what it makes of some test pairs."""
        timer = Timer()
        model, trainer, metrics, seconds = self.run(variant, options, seed, epochs, output, timer)
        for row, pictures in enumerate(transferred(model, trainer.datamodule.splits["test"])):
            for name, picture in zip(("content", "style", variant), pictures, strict=False):
                write(picture, metrics.parent / f"{row}_{name}.png")
        tested = {name: value.item() for name, value in trainer.callback_metrics.items()}
        return Outcome(
            variant,
            seed,
            tested["test_style_distance"],
            tested["test_untransferred"],
            tested["test_style_gain"],
            tested["test_ssim"],
            int(tested["nonfinite_steps"]),
            trainer.global_step,
            (timer.time_elapsed("train") - timer.time_elapsed("validate")) / trainer.global_step,
            sum(weight.numel() for weight in model.parameters()),
            seconds,
            str(metrics),
        )


class StyleExperiment(Experiment):
    """A comparison of style transfers."""

    def table(self, results: Outcomes) -> str:
        before = next(iter(results.values()))[0].untransferred
        lines = [
            f"Style distance before the transfer: {before:.3f}",
            "",
            f"| {'variant':13} | style distance | gain | SSIM | steps left out | ms a step |",
            "|---|---|---|---|---|---|",
        ]
        for variant, trials in results.items():
            distance, gain, ssim, step = (
                np.array([getattr(trial, name) for trial in trials])
                for name in ("style_distance", "style_gain", "ssim", "seconds_per_step")
            )
            left_out = ", ".join(str(trial.nonfinite_steps) for trial in trials)
            lines.append(
                f"| {variant:13} | {distance.mean():.3f} ± {distance.std():.3f} "
                f"| {gain.mean():.2f} | {ssim.mean():.3f} ± {ssim.std():.3f} | {left_out} "
                f"| {1000 * step.mean():.0f} |"
            )
        variants = self.comparisons["hops"]
        return "\n".join([*lines, "", flat.table({name: variants[name] for name in results})])

    def draw(self, results: Outcomes, output: Path) -> None:
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=(9, 3.8), layout="constrained")
            loss, distance = figure.subplots(1, 2)
            for (variant, trials), colour in zip(results.items(), cycle(COLOURS), strict=False):
                logs = [read_curves(Path(trial.metrics)) for trial in trials]
                draw_curve(loss, [log["train_loss"] for log in logs], variant, colour)
                draw_curve(distance, [log["val_style_distance"] for log in logs], variant, colour)
            loss.set(title="Training loss")
            distance.set(title="Style distance, validation")
            distance.legend()
            save(figure, output / "learning_curves.png")
        runs = {variant: Path(trials[0].metrics).parent for variant, trials in results.items()}
        columns = {"content": next(iter(runs.values())), "style": next(iter(runs.values()))} | runs
        rows = len(list(columns["content"].glob("*_content.png")))
        pictures = [
            [read(run / f"{row}_{name}.png") for name, run in columns.items()]
            for row in range(rows)
        ]
        draw_grid(pictures, list(columns), output / "pictures.png")


EXPERIMENT = StyleExperiment(
    "style_transfer",
    StyleRecipe(),
    {
        "hops": {
            "exact": {},
            "eigh_autograd": {"method": "eigh", "backward": "autograd"},
            "pade_lyapunov": {"method": "pade", "backward": "lyapunov"},
            "adain": {"transfer": "adain"},
        },
    },
)

if __name__ == "__main__":
    EXPERIMENT.run()
