"""Figures of this example: what the patches are, and what the head makes of a covariance."""

from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from common.report import AMBER, BLUE, STYLE, VERMILION, save
from covlayers import functional as F
from data import PICTURES, SIZE, STRIPS, Patches, grey

COLOUR = {"train": BLUE, "val": AMBER, "test": VERMILION}

SHOWN = ("train", "test")
"""The splits of which patches are drawn."""

EXAMPLES = 5
"""Patches that are drawn of each class, in each of those."""

SAMPLES = 256
"""Test images, evenly spread, of which spectra are taken."""


def draw_patches(data: Patches, path: Path) -> None:
    """Draw every picture with its strips, and some patches from its training and its test strip."""
    rows = ceil(len(PICTURES) / 2)
    tight = {"figure.constrained_layout.h_pad": 0.04, "figure.constrained_layout.w_pad": 0.04}
    with matplotlib.rc_context(STYLE | tight):
        figure = Figure(figsize=(13, 0.95 * rows + 0.3), layout="constrained")
        grid = figure.subplots(rows, 6, width_ratios=2 * (2, 5, 5))
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=False)
        for axes, split in zip(grid[0, [1, 2, 4, 5]], 2 * SHOWN, strict=True):
            axes.set_title(split, color=COLOUR[split])
        panels = np.concatenate([grid[:, :3], grid[:, 3:]])
        for label, (name, load) in enumerate(PICTURES.items()):
            picture, *strips = panels[label]
            draw_picture(picture, grey(load()))
            picture.set_ylabel(name, rotation=0, ha="right", va="center")
            for axes, split in zip(strips, SHOWN, strict=True):
                images, labels = data.splits[split].tensors
                draw_row(axes, data.normalise(images[labels == label][:EXAMPLES])[:, 0])
        save(figure, path)


def draw_picture(axes: Axes, picture: np.ndarray) -> None:
    """Draw a picture under the colours of its splits."""
    axes.imshow(picture, cmap="gray")
    for split, (start, end) in STRIPS.items():
        left, right = (share * picture.shape[1] - 0.5 for share in (start, end))
        axes.axvspan(left, right, color=COLOUR[split], alpha=0.3, linewidth=0)


def draw_row(axes: Axes, images: Tensor) -> None:
    """Draw patches side by side, as the network sees them."""
    gap = torch.full((len(images), SIZE, 2), torch.nan)
    row = torch.cat([images, gap], -1).movedim(0, 1).flatten(1)
    axes.imshow(row[:, :-2].numpy(), cmap="gray", vmin=-2.5, vmax=2.5)


@torch.no_grad()
def spectra(model: LightningModule, data: LightningDataModule) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first, of covariances and of what the head makes of them.

    Args:
        model: a classifier with a covariance pooling, from which its covariances come.
        data: of whose test images some are taken.
    """
    trunk, pool = model.network.trunk.eval(), model.network.pool.eval()
    device = model.trainer.strategy.root_device
    model.to(device)
    test = data.splits["test"]
    some = Subset(test, range(0, len(test), ceil(len(test) / SAMPLES)))
    found: list[tuple[Tensor, Tensor]] = []
    for batch in DataLoader(some, data.batch_size):
        images, _ = data.on_after_batch_transfer([part.to(device) for part in batch], 0)
        features = trunk(images)
        cov = F.covariance(pool.reduction(features), eps=pool.eps)
        Y = F.triu_matrix(pool(features), cov.shape[-1], isometric=pool.vectorize == "isometric")
        found.append((torch.linalg.eigvalsh(cov.double()), torch.linalg.eigvalsh(Y.double())))
    before, after = (torch.cat(parts).flip(-1).cpu().numpy() for parts in zip(*found, strict=True))
    return before, after


def draw_spectra(model: LightningModule, data: LightningDataModule, path: Path) -> None:
    """Draw the mean spectrum of the covariances, and of what the head makes of them.

    After a root all eigenvalues are positive; they share the axis of the covariances, and dashed is
    what the exact root would make of these.
    """
    before, after = spectra(model, data)
    positive = bool((after > 0).all())
    titles = ("Covariance of the features", f"What the head makes of it: {model.hparams.head}")
    scales = ("log", "log" if positive else "linear")
    rank = np.arange(1, before.shape[-1] + 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.8), layout="constrained")
        panels = figure.subplots(1, 2, sharey=positive)
        parts = zip(panels, (before, after), titles, scales, (BLUE, VERMILION), strict=True)
        for axes, values, title, scale, colour in parts:
            low, high = np.quantile(values, (0.1, 0.9), axis=0)
            axes.plot(rank, values.mean(0), color=colour, linewidth=1.8, label="mean")
            axes.fill_between(
                rank, low, high, color=colour, alpha=0.15, linewidth=0, label="10 to 90 % of images"
            )
            axes.set(title=title, xlabel="rank", yscale=scale, xlim=(1, rank[-1]))
        if positive:
            exact = np.sqrt(before).mean(0)
            panels[1].plot(rank, exact, "--", color="#666666", label="mean, exact root")
        panels[1].legend()
        panels[0].set_ylabel("eigenvalue")
        save(figure, path)
