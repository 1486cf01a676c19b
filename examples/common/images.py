"""Labelled images, and how they are split and augmented."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split
from torch import Tensor

from common.augment import random_flip, random_shift
from common.checks import require
from common.data import LabelledData

SPLIT_SEED = 0
"""Splits are drawn with this seed, whatever the seed of the training."""


def stratified_split(labels: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of those kept and of ``held_out`` others, with the classes in equal proportion."""
    indices = np.arange(len(labels))
    return tuple(
        train_test_split(indices, test_size=held_out, stratify=labels, random_state=SPLIT_SEED)
    )


def fetch(source: Callable[..., Any], root: str, download: bool) -> None:
    """Fetch a dataset of torchvision if asked to.

    Args:
        source: its class.
        root: folder of the data.
        download: whether to fetch what is not there.

    Raises:
        FileNotFoundError: if it is not there then.
    """
    if download:
        source(root, download=True)
    try:
        source(root)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"No {source.__name__} in root={root!r}. Point --data.root at the folder that holds "
            "it, or fetch it with --data.download=true."
        ) from error


class Images(LabelledData):
    """Images that are shifted and mirrored.

    Args:
        shift: by how many pixels training images move at most.
        flip: training images are mirrored half of the time.
        loading: the options of every data module.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, shift: int = 0, flip: bool = False, **loading: Any) -> None:
        super().__init__(**loading)
        require(shift >= 0, "shift", "0 pixels or more", shift)
        self.shift, self.flip = shift, flip

    def augment(self, x: Tensor) -> Tensor:
        x = random_shift(x, self.shift) if self.shift else x
        return random_flip(x) if self.flip else x
