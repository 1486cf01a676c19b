"""The data: digits, CIFAR, and folders such as ImageNet's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
import torchvision
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import TensorDataset
from torchvision.transforms import v2

from common.checks import require
from common.data import Splits
from common.images import Images, fetch, stratified_split
from common.picture_files import load_rgb


class Digits(Images):
    """The 1797 handwritten digits of scikit-learn, 8x8 pixels, split 1077 / 360 / 360."""

    mean, std = (4.88,), (6.02,)
    class_names = "0123456789"

    def load(self) -> Splits:
        digits = load_digits()
        images = torch.from_numpy(digits.images).byte()[:, None]
        labels = torch.from_numpy(digits.target)
        rest, test = stratified_split(digits.target, 360)
        train, val = (rest[part] for part in stratified_split(digits.target[rest], 360))
        parts = {"train": train, "val": val, "test": test}
        return {name: TensorDataset(images[part], labels[part]) for name, part in parts.items()}


class CIFAR10(Images):
    """CIFAR-10, 32x32 pixels, split 45000 / 5000 / 10000.

    Args:
        root: folder of the data.
        download: fetch the data if they are not there.
        options: the options of every data module.
    """

    mean, std = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
    source: ClassVar[Callable[..., Any]] = torchvision.datasets.CIFAR10

    def __init__(self, root: str = "data", download: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.root, self.download = root, download

    def prepare_data(self) -> None:
        fetch(self.source, self.root, self.download)

    def load(self) -> Splits:
        learning, test = self.source(self.root, train=True), self.source(self.root, train=False)
        self.class_names = learning.classes
        images, labels = _tensors(learning)
        train, val = stratified_split(labels.numpy(), 5000)
        return {
            "train": TensorDataset(images[train], labels[train]),
            "val": TensorDataset(images[val], labels[val]),
            "test": TensorDataset(*_tensors(test)),
        }


def _tensors(dataset: Any) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(dataset.data).permute(0, 3, 1, 2), torch.tensor(dataset.targets)


class CIFAR100(CIFAR10):
    """CIFAR-100, split as CIFAR-10."""

    mean, std = (129.3, 124.1, 112.4), (68.2, 65.4, 70.4)
    source = torchvision.datasets.CIFAR100


class ImageFolder(Images):
    """A folder per class under ``root/train`` and ``root/val``, as ImageNet comes.

    The test set is ``val`` again. The random crop is made by the workers.

    Args:
        root: the folder that holds both.
        image_size: side of the crop, in pixels.
        options: the options of every data module.
    """

    mean, std = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)

    def __init__(self, root: str = "data/imagenet", image_size: int = 224, **options: Any) -> None:
        super().__init__(**options)
        require(image_size > 0, "image_size", "a positive number of pixels", image_size)
        self.root, self.image_size = Path(root), image_size

    def load(self) -> Splits:
        for part in ("train", "val"):
            if not (self.root / part).is_dir():
                raise FileNotFoundError(
                    f"No folder {part!r} in root={str(self.root)!r}. --data.root must hold train/ "
                    "and val/, each with a folder per class."
                )
        random_crop = [v2.RandomResizedCrop(self.image_size, antialias=True)]
        centre_crop = [v2.Resize(self.image_size * 8 // 7), v2.CenterCrop(self.image_size)]
        train, val = (
            torchvision.datasets.ImageFolder(
                self.root / part, v2.Compose([*crop, v2.PILToTensor()]), loader=load_rgb
            )
            for part, crop in (("train", random_crop), ("val", centre_crop))
        )
        self.class_names = train.classes
        return {"train": train, "val": val, "test": val}
