"""The pictures of the splits, and those that come with scikit-image and scikit-learn.

Training pairs are crops drawn at random. Validation and test have all pairs of some pictures that
are not trained on.
"""

from functools import cache
from typing import Any, ClassVar

from torch import Tensor, nn
from torchvision.transforms import v2

from common.checks import require
from common.data import Data, Splits
from pairs import AllPairs, DrawnPairs, EndlessSampler, Sources
from photos import PHOTOS
from pictures import from_bytes

SHORT_SIDE = 256
"""Pixels of the shorter side of a photograph, as it is kept in memory."""


def check_side(argument: str, side: int) -> None:
    """Raise unless a picture of this side comes out of the network as large as it went in."""
    require(side > 0 and side % 8 == 0, argument, "a positive multiple of 8 pixels", side)


class StyleData(Data):
    """Pairs of pictures.

    Args:
        pairs: training pairs in an epoch.
        crop_size: side of the training pictures, in pixels, a multiple of 8.
        smallest_crop: the least share of a picture that a training crop shows.
        image_size: side of the pictures of validation and test, a multiple of 8.
        loading: the options of every data module.

    Raises:
        ValueError: if a number is out of range.
    """

    sampler = EndlessSampler
    colours: tuple[nn.Module, ...] = ()

    def __init__(
        self,
        pairs: int = 256,
        crop_size: int = 64,
        smallest_crop: float = 0.1,
        image_size: int = 128,
        **loading: Any,
    ) -> None:
        super().__init__(**loading)
        require(pairs > 0, "pairs", "positive", pairs)
        check_side("crop_size", crop_size)
        require(0 < smallest_crop <= 1, "smallest_crop", "in (0, 1]", smallest_crop)
        check_side("image_size", image_size)
        self.pairs, self.crop_size, self.smallest_crop = pairs, crop_size, smallest_crop
        self.image_size = image_size

    def sources(self) -> dict[str, Sources]:
        """Where the pictures of ``train``, ``val`` and ``test`` come from."""
        raise NotImplementedError

    def load(self) -> Splits:
        crop = v2.RandomResizedCrop(self.crop_size, (self.smallest_crop, 1.0))
        random = v2.Compose([crop, v2.RandomHorizontalFlip(), *self.colours])
        centre = v2.Compose([v2.Resize(self.image_size), v2.CenterCrop(self.image_size)])
        sources = self.sources()
        train = DrawnPairs(sources.pop("train"), random, self.pairs)
        return {"train": train} | {
            name: AllPairs(source, centre) for name, source in sources.items()
        }


@cache
def photograph(name: str) -> Tensor:
    """One of ``photos.py``, :math:`(3, H, W)` in [0, 1], small; a comparison asks for it often."""
    return v2.functional.resize(from_bytes(PHOTOS[name]()), [SHORT_SIDE])


class Photos(StyleData):
    """The twelve photographs of ``photos.py``: six to train on, three to validate, three to test.

    Each is a content and a style. Training crops change their colours at random.
    """

    names: ClassVar[dict[str, tuple[str, ...]]] = {
        "train": ("astronaut", "brick", "cat", "grass", "retina", "rocket"),
        "val": ("coffee", "galaxies", "gravel"),
        "test": ("china", "flower", "tissue"),
    }
    colours = (v2.RandomChannelPermutation(), v2.ColorJitter(0.4, 0.4, 0.4, 0.2))

    def sources(self) -> dict[str, Sources]:
        splits = {
            split: {name: photograph(name) for name in names} for split, names in self.names.items()
        }
        return {split: Sources(photos, photos) for split, photos in splits.items()}
