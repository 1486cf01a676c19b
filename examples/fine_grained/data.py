"""The default data: which of twelve pictures is a small grey patch from?

Training, validation and test patches come from strips of a picture that do not touch: the first
three quarters of the left half, its last quarter, and the right half. What is learnt must hold for
the texture, not for the objects that happen to be in one half.
"""

from collections.abc import Callable

import numpy as np
import skimage.data
import torch
from skimage.color import rgb2gray
from skimage.util import img_as_ubyte, view_as_windows
from torch import Tensor
from torch.nn.functional import avg_pool2d, layer_norm
from torch.utils.data import TensorDataset

from common.data import Splits
from common.images import SPLIT_SEED, Images

PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "brick": skimage.data.brick,
    "cat": skimage.data.chelsea,
    "coffee": skimage.data.coffee,
    "coins": skimage.data.coins,
    "galaxies": skimage.data.hubble_deep_field,
    "grass": skimage.data.grass,
    "gravel": skimage.data.gravel,
    "moon": skimage.data.moon,
    "page": skimage.data.page,
    "retina": skimage.data.retina,
    "text": skimage.data.text,
    "tissue": skimage.data.immunohistochemistry,
}

STRIPS = {"train": (0, 3 / 8), "val": (3 / 8, 1 / 2), "test": (1 / 2, 1)}
"""Where the strip of a split begins and ends, as shares of the picture's width."""

COUNTS = {"train": 150, "val": 50, "test": 100}
"""Patches of each picture in a split."""

SIZE = 24
"""Side of a patch, in pixels."""

STEP = 6
"""Pixels from the start of one patch to the next, so the patches of one split overlap."""

FLAT = 4.0
"""A patch whose grey levels deviate by no more than this shows noise only."""


def grey(picture: np.ndarray) -> np.ndarray:
    """A picture as bytes, without its colours."""
    return picture if picture.ndim == 2 else img_as_ubyte(rgb2gray(picture))


def strip(picture: np.ndarray, split: str) -> np.ndarray:
    """The columns of a picture that belong to a split."""
    start, end = (round(share * picture.shape[1]) for share in STRIPS[split])
    return picture[:, start:end]


def patches(picture: np.ndarray, split: str) -> np.ndarray:
    """Some patches of a picture, :math:`(N, H, W)`, drawn among those that are not flat."""
    x = strip(picture, split)
    levels = torch.from_numpy(x.astype(float))[None]
    mean, square = (avg_pool2d(power, SIZE, STEP) for power in (levels, levels**2))
    varied = (square - mean**2)[0].numpy() > FLAT**2
    windows = view_as_windows(x, (SIZE, SIZE), STEP)[varied]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(windows))
    return windows[order[: COUNTS[split]]]


class Patches(Images):
    """Grey patches of scikit-image's pictures, 24x24 pixels, split 1800 / 600 / 1200.

    Each has mean zero and deviation one, so that neither light nor contrast tells where it is from.
    """

    class_names = tuple(PICTURES)

    def load(self) -> Splits:
        pictures = [grey(load()) for load in PICTURES.values()]
        splits: Splits = {}
        for split, count in COUNTS.items():
            images = np.concatenate([patches(picture, split) for picture in pictures])
            labels = torch.arange(len(pictures)).repeat_interleave(count)
            splits[split] = TensorDataset(torch.from_numpy(images)[:, None], labels)
        return splits

    def normalise(self, x: Tensor) -> Tensor:
        return layer_norm(x.float(), x.shape[1:])
