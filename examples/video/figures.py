"""Figures of this example: what the spatial attention looks at, and what a covariance becomes."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from pytorch_lightning import LightningDataModule, LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from common.report import BLUE, STYLE, VERMILION, save
from covlayers import functional as F
from covlayers.modules.video.temporal_attention import TemporalSpatialAttention
from data import DIRECTIONS, SIDE, MovingDigits, paths

SAMPLES = 240
"""Test clips, evenly spread, of which spectra and mean affinities are taken."""

LESS_OR_MORE = LinearSegmentedColormap.from_list("less or more", [VERMILION, "white", BLUE])

SMALL = {"fontsize": 9, "pad": 4}


@contextmanager
def watch(module: nn.Module) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What goes into a module and what comes out, a pair for every call."""
    calls: list[tuple[Tensor, Tensor]] = []
    hook = module.register_forward_hook(lambda _, x, y: calls.append((x[0], y)))
    yield calls
    hook.remove()


@torch.no_grad()
def apply(model: LightningModule, data: LightningDataModule) -> Tensor:
    """Apply a model to some test clips; their labels."""
    device = model.trainer.strategy.root_device
    model.to(device).eval()
    test = data.splits["test"]
    some = Subset(test, range(0, len(test), ceil(len(test) / SAMPLES)))
    labels: list[Tensor] = []
    for batch in DataLoader(some, data.batch_size):
        clips, _ = data.on_after_batch_transfer([part.to(device) for part in batch], 0)
        model(clips)
        labels.append(batch[1])
    return torch.cat(labels)


def spectra(model: LightningModule, data: LightningDataModule) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first, of covariances and of what the pooling makes of them."""
    pool = model.network.pool.pool
    with watch(pool) as calls:
        apply(model, data)
    cov = torch.cat([F.covariance(x, eps=pool.eps) for x, _ in calls])
    Y = F.triu_matrix(torch.cat([y for _, y in calls]), cov.shape[-1])
    before, after = (torch.linalg.eigvalsh(A.double()).flip(-1) for A in (cov, Y))
    return before.cpu().numpy(), after.cpu().numpy()


def draw_spectra(model: LightningModule, data: LightningDataModule, path: Path) -> None:
    """Draw the mean spectrum of covariances before and after their normalisation."""
    before, after = spectra(model, data)
    rank = np.arange(1, before.shape[-1] + 1)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6, 3.8), layout="constrained")
        axes = figure.subplots()
        for values, colour, label in (
            (before, BLUE, "covariance"),
            (after, VERMILION, f"normalised: {model.hparams.pool}"),
        ):
            low, high = np.quantile(values, (0.1, 0.9), axis=0)
            axes.plot(rank, values.mean(0), color=colour, linewidth=1.8, label=label)
            axes.fill_between(rank, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(rank, np.sqrt(before).mean(0), "--", color="#666666", label="exact root")
        axes.set(title="Spectrum of a clip: mean, and 10 to 90 % of clips", yscale="log")
        axes.set(xlabel="rank", ylabel="eigenvalue", xlim=(1, rank[-1]))
        axes.legend()
        save(figure, path)


@torch.no_grad()
def affinities(block: TemporalSpatialAttention, x: Tensor) -> Tensor:
    r"""Weights of the positions two frames before for those one frame before, from the third frame.

    Args:
        block: the attention.
        x: what goes into it, :math:`(N, T, C, M)`; the positions :math:`M` form a square.

    Returns:
        The weights, :math:`(N, T - 2, h, h, h, h)`, the last two dimensions summing to one.
    """
    rows = x.mT
    query, key = block.query(rows)[:, 1:-1], block.key(rows)[:, :-2]
    weights = (query @ key.mT / block.channels**0.5).softmax(-1)
    side = round(x.shape[-1] ** 0.5)
    return weights.unflatten(-1, (side, side)).unflatten(2, (side, side))


def by_displacement(weights: Tensor) -> Tensor:
    """The mean weight of each displacement, :math:`(N, h, h)`; in the middle, of none."""
    side = weights.shape[-1]
    mean = weights.mean(1)
    shifted = [
        mean[:, row, column].roll((side // 2 - row, side // 2 - column), (-2, -1))
        for row in range(side)
        for column in range(side)
    ]
    return torch.stack(shifted).mean(0)


def draw_attention(model: LightningModule, data: MovingDigits, path: Path) -> None:
    """Draw a test clip, and which displacements the spatial attention prefers in each motion."""
    block = model.network.pool.spatial_attention
    with watch(block) as calls:
        labels = apply(model, data)
    weights = by_displacement(affinities(block, torch.cat([x for x, _ in calls]))).cpu()
    means = [weights[labels == motion].mean(0).numpy() for motion in range(len(DIRECTIONS))]
    clip, label = data.splits["test"][0]
    corners = paths(data.starts["test"][:1], label[None].numpy())[0]
    tight = {"figure.constrained_layout.h_pad": 0.04, "figure.constrained_layout.w_pad": 0.04}
    with matplotlib.rc_context(STYLE | tight):
        figure = Figure(figsize=(10, 5.7), layout="constrained")
        left, right = figure.subfigures(1, 2, wspace=0.06)
        titled = {"x": 0.03, "ha": "left", "fontsize": 11}
        left.suptitle(f"A test clip that moves {data.class_names[label]}", **titled)
        right.suptitle("Where the spatial attention looks", **titled)
        draw_clip(left.subplots(3, 3), clip[:, 0].numpy(), corners)
        draw_displacements(right.subplots(3, 3), dict(zip(DIRECTIONS, means, strict=True)))
        for axes in figure.axes:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color="#cccccc")
        save(figure, path)


def draw_clip(panels: np.ndarray, frames: np.ndarray, corners: np.ndarray) -> None:
    """Draw the frames with the digit's centre, and the mean of all, moved back along its path."""
    *each, last = panels.flat
    still = np.zeros((SIDE, SIDE))
    for number, (axes, frame, corner) in enumerate(zip(each, frames, corners, strict=True), 1):
        row, column = (corner + 3.5) % SIDE
        axes.imshow(frame, cmap="gray_r")
        axes.plot(column, row, "o", color=VERMILION, markersize=5)
        axes.set_title(f"frame {number}", **SMALL)
        still += np.roll(frame, SIDE // 4 - corner, (0, 1))
    last.imshow(still, cmap="gray_r")
    last.set_title("mean along the path", **SMALL)


def draw_displacements(panels: np.ndarray, means: dict[str, np.ndarray]) -> None:
    """Draw the mean weights of all motions in the middle, and around it what is special to each.

    A cross is at no displacement; blue is more weight than in the mean, orange is less.
    """
    common = np.mean(list(means.values()), 0)
    largest = max(abs(mean - common).max() for mean in means.values())
    none = len(common) // 2
    for name, mean in means.items():
        row, column = DIRECTIONS[name]
        axes = panels[1 + row, 1 + column]
        axes.imshow(mean - common, cmap=LESS_OR_MORE, vmin=-largest, vmax=largest)
        axes.plot(none, none, "+", color="#333333", markersize=9)
        axes.set_title(name, **SMALL)
    panels[1, 1].imshow(common, cmap="Blues")
    panels[1, 1].plot(none, none, "+", color="white", markersize=9)
    panels[1, 1].set_title("mean of all", **SMALL)
