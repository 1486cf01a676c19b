"""Figures of this example: pictures beside each other, and how a run learnt."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import Dataset

from common.report import BLUE, COLOURS, STYLE, VERMILION, draw_curve, read_curves, save
from pictures import to_array

PAIRS = 4
"""Pairs in a figure, evenly spread over the pairs of a split."""

TIGHT = {"figure.constrained_layout.h_pad": 0.03, "figure.constrained_layout.w_pad": 0.03}

TRANSFER = ("content", "style", "output", "reconstruction")


def some_pairs(pairs: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
    """A few pairs, each as a batch of one."""
    for index in np.linspace(0, len(pairs) - 1, min(PAIRS, len(pairs))).round().astype(int):
        content, style = pairs[index]
        yield content[None], style[None]


@torch.no_grad()
def transferred(model: LightningModule, pairs: Dataset) -> list[list[Tensor]]:
    """Content, style, output and reconstruction of a few pairs."""
    training = model.training
    model.eval()
    rows = []
    for content, style in some_pairs(pairs):
        both = content.to(model.device), style.to(model.device)
        rows.append([picture[0].cpu() for picture in (*both, *model(*both))])
    model.train(training)
    return rows


def show(axes: Axes, picture: Tensor) -> None:
    """Draw a picture :math:`(3, H, W)` without a frame."""
    axes.imshow(to_array(picture))
    axes.set_axis_off()


def draw_grid(rows: Sequence[Sequence[Tensor]], names: Sequence[str], path: Path) -> None:
    """Draw pictures in rows, under the names of the columns."""
    with matplotlib.rc_context(STYLE | TIGHT):
        size = (1.9 * len(names), 1.9 * len(rows) + 0.3)
        figure = Figure(figsize=size, layout="constrained")
        for panels, pictures in zip(
            figure.subplots(len(rows), len(names), squeeze=False), rows, strict=True
        ):
            for axes, picture in zip(panels, pictures, strict=True):
                show(axes, picture)
        for axes, name in zip(figure.axes, names, strict=False):
            axes.set_title(name, loc="center", fontsize=10, pad=5)
        save(figure, path)


class Grids(Callback):
    """After every epoch, what a few pairs of the validation look like, as a file of the run."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or trainer.fast_dev_run or not trainer.log_dir:
            return
        if trainer.is_global_zero:
            rows = transferred(pl_module, trainer.datamodule.splits["val"])
            path = Path(trainer.log_dir) / f"epoch_{trainer.current_epoch:03}.png"
            draw_grid(rows, TRANSFER, path)


def report(metrics: Path, hops: int, path: Path) -> None:
    """Draw how a run learnt.

    Args:
        metrics: the ``metrics.csv`` that it logged.
        hops: their number.
        path: where the figure goes.
    """
    curves = read_curves(metrics)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.5, 3.8), layout="constrained")
        losses, quality, strengths = figure.subplots(1, 3)
        for name, colour in zip(("content", "style", "reconstruction"), COLOURS, strict=False):
            draw_curve(losses, [curves[f"train_{name}"]], name, colour)
        losses.set(title="Training losses, unweighted", ylim=(0, None))
        draw_curve(quality, [curves["val_style_distance"]], "distance from the style", VERMILION)
        draw_curve(quality, [curves["val_ssim"]], "similarity to the content (SSIM)", BLUE)
        quality.set(title="Validation", ylim=(0, None))
        for hop, colour in enumerate(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, hops))):
            draw_curve(strengths, [curves[f"alpha_{hop}"]], f"hop {hop + 1}", colour)
        strengths.set(title="Strength α of the hops", ylim=(0, 1.02))
        for axes in (losses, quality, strengths):
            axes.legend()
        save(figure, path)
