"""Moving digits: clips whose label is the motion, which no frame by itself shows.

A handwritten digit moves over a torus, in noise: what leaves on one side comes in on the other, and
after all frames it is back where it began.
"""

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from common.checks import require
from common.data import LabelledData, Splits
from common.images import SPLIT_SEED, stratified_split

SIDE, FRAMES, STEP = 16, 8, 2
"""Pixels of a frame's side, frames of a clip, pixels of a step between them."""

CLIPS = 2
"""Clips of each digit, in different directions."""

DIRECTIONS = {
    "E": (0, 1),
    "SE": (1, 1),
    "S": (1, 0),
    "SW": (1, -1),
    "W": (0, -1),
    "NW": (-1, -1),
    "N": (-1, 0),
    "NE": (-1, 1),
}
"""By how many steps row and column grow from frame to frame, by class: a point of the compass."""

PAPER, INK = 96, 64
"""The byte of an empty pixel, and by how much the byte of the darkest stroke is higher."""


def paths(starts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where clips have their upper left corners, :math:`(N, T, 2)`, not yet wrapped around.

    Args:
        starts: rows and columns in the first frame, :math:`(N, 2)`.
        labels: the classes of the motions, :math:`(N,)`.
    """
    directions = np.array(list(DIRECTIONS.values()))[labels]
    return starts[:, None] + STEP * np.arange(FRAMES)[:, None] * directions[:, None]


def move(digits: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Lay each digit, :math:`(N, h, w)`, on the frames of its path, :math:`(N, T, 2)`."""
    N, height, width = digits.shape
    rows = (corners[..., 0, None] + np.arange(height)) % SIDE  # (N, T, h)
    columns = (corners[..., 1, None] + np.arange(width)) % SIDE  # (N, T, w)
    clip, frame = (index[..., None, None] for index in np.ogrid[:N, : corners.shape[1]])
    clips = np.zeros((N, corners.shape[1], SIDE, SIDE), digits.dtype)
    clips[clip, frame, rows[..., None], columns[..., None, :]] = digits[:, None]
    return clips


class MovingDigits(LabelledData):
    """The 1797 digits of scikit-learn, each in two clips of 8 frames of 16x16 pixels.

    The 1077 / 360 / 360 digits of the splits are different ones. Digit, start and noise are drawn
    without regard to the direction, so a frame is distributed alike in all classes.

    Attributes:
        starts: where the digits of a split begin, rows and columns, by its name.

    Args:
        noise: standard deviation of every pixel, in units of the darkest stroke.
        loading: the options of every data module.

    Raises:
        ValueError: if a number is out of range.
    """

    mean, std = (101.1,), (46.5,)
    class_names = tuple(DIRECTIONS)

    def __init__(self, noise: float = 0.7, **loading: Any) -> None:
        super().__init__(**loading)
        require(noise >= 0, "noise", "0 or more", noise)
        self.noise = noise
        self.starts: dict[str, np.ndarray] = {}

    def load(self) -> Splits:
        digits = load_digits()
        rest, test = stratified_split(digits.target, 360)
        train, val = (rest[part] for part in stratified_split(digits.target[rest], 360))
        chance = np.random.default_rng(SPLIT_SEED)
        splits: Splits = {}
        for name, part in (("train", train), ("val", val), ("test", test)):
            order = chance.permuted(np.tile(np.arange(len(DIRECTIONS)), (len(part), 1)), axis=1)
            labels = order[:, :CLIPS].ravel()
            self.starts[name] = chance.integers(SIDE, size=(len(labels), 2))
            strokes = np.repeat(digits.images[part] / digits.images.max(), CLIPS, 0)
            clean = move(strokes, paths(self.starts[name], labels))
            noisy = clean + self.noise * chance.standard_normal(clean.shape)
            clips = (PAPER + INK * noisy).round().clip(0, 255).astype(np.uint8)
            splits[name] = TensorDataset(
                torch.from_numpy(clips)[:, :, None], torch.from_numpy(labels)
            )
        return splits
