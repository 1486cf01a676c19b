"""Drawings of what the head takes: which tokens, and the spectrum of their covariance."""

from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from common.images import Images
from common.report import BLUE, STYLE, VERMILION, save
from covlayers import SecondOrderHead
from module import SecondOrderViTClassifier
from network import VisionTransformer
from spectrum import MATRICES, singular_values
from tokens import class_attention, support

MOST_IMAGES = 64
"""How many images of the test set, evenly spaced, are looked at."""

SHOWN = 6
"""How many of them, of different classes, are shown."""

ROUNDING = 1e-6
"""Singular values below this part of the largest are rounding, and not shown."""

ATTENTION = LinearSegmentedColormap.from_list("attention", ["white", BLUE])
SUPPORT = LinearSegmentedColormap.from_list("support", [VERMILION, "white", BLUE])


class Sample(NamedTuple):
    """Images of the test set, as bytes and as the network takes them, and their classes."""

    images: Tensor
    inputs: Tensor
    labels: Tensor

    @classmethod
    def of_test_set(cls, data: Images, device: torch.device) -> "Sample":
        """A part of the test set, on a device."""
        test = data.splits["test"]
        evenly = np.linspace(0, len(test) - 1, min(len(test), MOST_IMAGES)).astype(int)
        images, labels = zip(*(test[index] for index in evenly.tolist()), strict=True)
        batch = torch.stack(images).to(device)
        return cls(batch, data.normalise(batch), torch.tensor(labels))

    def of_different_classes(self) -> "Sample":
        """The first image of each of a few classes."""
        first = np.unique(self.labels, return_index=True)[1][:SHOWN]
        return Sample(*(values[first] for values in self))


def draw_row(axes: np.ndarray, name: str, maps: np.ndarray, colours: Colormap, low: float) -> None:
    """Draw a map per image on one scale, from ``low`` times the largest magnitude to it."""
    largest = np.abs(maps).max()
    for panel, values in zip(axes, maps, strict=True):
        drawn = panel.imshow(values, cmap=colours, vmin=low * largest, vmax=largest)
    axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
    bar = axes[0].figure.colorbar(drawn, ax=axes, shrink=0.9, pad=0.02, aspect=10)
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(3)


def draw_tokens(network: VisionTransformer, sample: Sample, path: Path) -> None:
    """Draw a few images, how the class token attends, and what each pooled token supports."""
    shown = sample.of_different_classes()
    rows = [("attention of\nthe class token", class_attention(network, shown.inputs), ATTENTION, 0)]
    if isinstance(network.head, SecondOrderHead):
        rows.append(("support by\neach pooled token", support(network, shown.inputs), SUPPORT, -1))
    count = len(shown.images)
    with matplotlib.rc_context(STYLE | {"figure.constrained_layout.h_pad": 0.04}):
        figure = Figure(figsize=(1.4 * count + 2.4, 1.4 * (1 + len(rows))), layout="constrained")
        panels = figure.subplots(1 + len(rows), count, squeeze=False)
        for panel in panels.flat:
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set(visible=True, color="#cccccc")
        for panel, image in zip(panels[0], shown.images.cpu().numpy(), strict=True):
            panel.imshow(image.transpose(1, 2, 0), cmap="Greys")
        panels[0, 0].set_ylabel("image", rotation=0, ha="right", va="center")
        for axes, (name, values, colours, low) in zip(panels[1:], rows, strict=True):
            grids = values.cpu().numpy().reshape(count, network.grid, network.grid)
            draw_row(axes, name, grids, colours, low)
        save(figure, path)


def draw_values(axes: Axes, values: Tensor, label: str, colour: str) -> None:
    """Draw the median over the images and, lighter, the range of nine in ten."""
    index = np.arange(1, values.shape[1] + 1)
    low, median, high = np.quantile(values.cpu().numpy(), (0.05, 0.5, 0.95), axis=0)
    axes.plot(index, median, color=colour, label=label, linewidth=1.8, marker="o", markersize=4)
    axes.fill_between(index, low, high, color=colour, alpha=0.15, linewidth=0)


def draw_spectrum(network: VisionTransformer, head: str, sample: Sample, path: Path) -> None:
    """Draw the singular values of the tokens' covariance before and after its normalisation."""
    before, after = singular_values(network, head, sample.inputs)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        draw_values(axes, before, "covariance of the visual tokens", VERMILION)
        draw_values(axes, after, "normalised, as the head takes it", BLUE)
        axes.set(title="Singular values, largest first", xlabel="index", yscale="log")
        axes.set_ylim(bottom=ROUNDING * before.max().item())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        save(figure, path)


def draw(model: SecondOrderViTClassifier, data: Images, run: Path) -> None:
    """Draw ``tokens.png`` and, where the head takes a covariance, ``spectrum.png``."""
    network = model.network.eval()
    sample = Sample.of_test_set(data, model.device)
    draw_tokens(network, sample, run / "tokens.png")
    if model.hparams.head in MATRICES:
        draw_spectrum(network, model.hparams.head, sample, run / "spectrum.png")
