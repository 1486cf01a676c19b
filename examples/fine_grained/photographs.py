"""The benchmarks of fine-grained recognition, from torchvision or from a folder per class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torchvision
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from common.checks import require
from common.data import Splits
from common.images import Images, fetch, stratified_split
from common.picture_files import load_rgb


class Photographs(Images):
    """Photographs of which a square is cropped: a random one to train, the central one to test.

    Args:
        root: the folder that holds them.
        image_size: side of the crop, in pixels; the shorter side of the photograph is brought to a
            seventh more.
        options: the options of every data module.

    Raises:
        ValueError: if a number is out of range.
    """

    mean, std = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)

    def __init__(self, root: str = "data", image_size: int = 448, **options: Any) -> None:
        super().__init__(**options)
        require(image_size > 0, "image_size", "a positive number of pixels", image_size)
        self.root, self.image_size = root, image_size

    def crop(self, kind: type[v2.Transform]) -> v2.Compose:
        """What turns a PIL image into the bytes of a crop, by one of torchvision's croppings."""
        resize = v2.Resize(self.image_size * 8 // 7)
        return v2.Compose([v2.RGB(), resize, kind(self.image_size), v2.PILToTensor()])


class DTD(Photographs):
    """The Describable Textures Dataset, 47 classes, first partition: 1880 images in each split.

    Args:
        download: fetch the data if they are not there.
        options: the options of all photographs.
    """

    source: ClassVar[Callable[..., Any]] = torchvision.datasets.DTD

    def __init__(self, download: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.download = download

    def prepare_data(self) -> None:
        fetch(self.source, self.root, self.download)

    def load(self) -> Splits:
        crops = {"train": v2.RandomCrop, "val": v2.CenterCrop, "test": v2.CenterCrop}
        splits = {
            split: self.source(self.root, split, transform=self.crop(kind), loader=load_rgb)
            for split, kind in crops.items()
        }
        self.class_names = splits["train"].classes
        return splits


class FGVCAircraft(DTD):
    """FGVC-Aircraft, 100 variants, about 3333 images in each split."""

    source = torchvision.datasets.FGVCAircraft


class TrainTestFolders(Photographs):
    """A folder per class under ``root/train`` and ``root/test``, as CUB and Cars are split.

    A tenth of the training images is for validation, so that no choice is made on the test images.
    """

    def load(self) -> Splits:
        for part in ("train", "test"):
            if not Path(self.root, part).is_dir():
                raise FileNotFoundError(
                    f"No folder {part!r} in root={self.root!r}. --data.root must hold train/ and "
                    "test/, each with a folder per class."
                )
        learning = self.folder("train", v2.RandomCrop)
        central = self.folder("train", v2.CenterCrop)
        test = self.folder("test", v2.CenterCrop)
        same = test.classes == learning.classes
        require(same, "root", "a folder with the same classes in train/ and test/", self.root)
        self.class_names = learning.classes
        train, val = stratified_split(np.array(learning.targets), len(learning) // 10)
        return {"train": Subset(learning, train), "val": Subset(central, val), "test": test}

    def folder(self, part: str, kind: type[v2.Transform]) -> ImageFolder:
        """One of the two folders, with its crop."""
        return ImageFolder(Path(self.root, part), self.crop(kind), loader=load_rgb)
