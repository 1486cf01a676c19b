"""Benchmarks of action recognition: UCF101, HMDB51 and Kinetics, as their authors split them."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold
from torchvision.datasets.folder import find_classes, make_dataset
from torchvision.transforms import v2

from common.checks import require
from common.data import LabelledData, Splits
from common.images import SPLIT_SEED
from videos import Samples, VideoFiles, video_decoder

EXTENSIONS = (".avi", ".mp4", ".mkv", ".webm")

SMALLEST_CROP = 0.44
"""The least share of a frame that a training crop shows, as for temporal segment networks."""


class Videos(LabelledData):
    """Videos in files; a benchmark says which belong to which split.

    Args:
        root: the folder of the videos.
        num_frames: frames of a clip.
        image_size: side of the crop, in pixels.
        loading: the options of every data module.

    Raises:
        ValueError: if a number is out of range.
    """

    mean, std = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)

    def __init__(
        self, root: str, num_frames: int = 8, image_size: int = 224, **loading: Any
    ) -> None:
        super().__init__(**loading)
        require(num_frames > 0, "num_frames", "positive", num_frames)
        require(image_size > 0, "image_size", "a positive number of pixels", image_size)
        self.root, self.num_frames, self.image_size = Path(root), num_frames, image_size

    def samples(self) -> dict[str, Samples]:
        """The files and labels of ``train``, ``val`` and ``test``."""
        raise NotImplementedError

    def load(self) -> Splits:
        video_decoder()  # says what is not installed before any worker starts
        scale = (SMALLEST_CROP, 1.0)
        random_crop = [v2.RandomResizedCrop(self.image_size, scale), v2.RandomHorizontalFlip()]
        centre_crop = [v2.Resize(self.image_size * 8 // 7), v2.CenterCrop(self.image_size)]
        return {
            split: VideoFiles(
                samples,
                self.num_frames,
                v2.Compose(random_crop if split == "train" else centre_crop),
                random=split == "train",
            )
            for split, samples in self.samples().items()
        }


class Kinetics(Videos):
    """A folder per class under ``root/train`` and ``root/val``; the test set is ``val`` again."""

    def __init__(self, root: str = "data/kinetics400", **options: Any) -> None:
        super().__init__(root, **options)

    def samples(self) -> dict[str, Samples]:
        for part in ("train", "val"):
            if not (self.root / part).is_dir():
                raise FileNotFoundError(
                    f"No folder {part!r} in root={str(self.root)!r}. --data.root must hold train/ "
                    "and val/, each with a folder of videos per class."
                )
        self.class_names, classes = find_classes(self.root / "train")
        train, val = (
            make_dataset(self.root / part, classes, EXTENSIONS) for part in ("train", "val")
        )
        return {"train": train, "val": val, "test": val}


class OfficialFolds(Videos):
    """A folder of videos per class, and lists of which are for training and which for test.

    A tenth of the training videos validates, drawn so that the clips of one recording stay
    together: else it would be recognised by its scenery.

    Args:
        root: the folder that holds the folders of the classes.
        lists: the folder of the lists.
        fold: 1, 2 or 3.
        options: the options of all videos.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, root: str, lists: str, fold: int = 1, **options: Any) -> None:
        super().__init__(root, **options)
        require(fold in (1, 2, 3), "fold", "1, 2 or 3", fold)
        self.lists, self.fold = Path(lists), fold

    def listed(self) -> dict[str, set[str]]:
        """The names of the files for ``train`` and for ``test``."""
        raise NotImplementedError

    def recording(self, path: Path) -> str:
        """What the clips of one recording have in common."""
        raise NotImplementedError

    def samples(self) -> dict[str, Samples]:
        require_folder("root", self.root, "a folder of videos per class")
        require_folder("lists", self.lists, "the lists of training and test videos")
        self.class_names, classes = find_classes(self.root)
        files = make_dataset(self.root, classes, EXTENSIONS)
        learning, test = (
            [(path, label) for path, label in files if Path(path).name in names]
            for names in self.listed().values()
        )
        labels = [label for _, label in learning]
        recordings = [self.recording(Path(path)) for path, _ in learning]
        tenths = StratifiedGroupKFold(10, shuffle=True, random_state=SPLIT_SEED)
        train, val = next(tenths.split(np.zeros(len(labels)), labels, recordings))
        return {
            "train": [learning[index] for index in train],
            "val": [learning[index] for index in val],
            "test": test,
        }


def require_folder(argument: str, folder: Path, content: str) -> None:
    """Raise ``FileNotFoundError`` unless there is such a folder."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"No folder {argument}={str(folder)!r}. --data.{argument} must hold {content}."
        )


class UCF101(OfficialFolds):
    """UCF101: 13320 videos of 101 actions; the lists are ``trainlist01.txt`` and so on."""

    def __init__(
        self, root: str = "data/ucf101", lists: str = "data/ucfTrainTestlist", **options: Any
    ) -> None:
        super().__init__(root, lists, **options)

    def listed(self) -> dict[str, set[str]]:
        return {
            part: {
                line.split()[0].rpartition("/")[2]
                for line in (self.lists / f"{part}list{self.fold:02}.txt").read_text().splitlines()
            }
            for part in ("train", "test")
        }

    def recording(self, path: Path) -> str:
        return path.stem.rpartition("_")[0]  # v_Archery_g08_c01: the first clip of group 8


class HMDB51(OfficialFolds):
    """HMDB51: 6766 videos of 51 actions; the lists are ``wave_test_split1.txt`` and so on."""

    def __init__(
        self, root: str = "data/hmdb51", lists: str = "data/hmdb51_splits", **options: Any
    ) -> None:
        super().__init__(root, lists, **options)

    def listed(self) -> dict[str, set[str]]:
        tags = dict(
            line.split()
            for path in self.lists.glob(f"*_test_split{self.fold}.txt")
            for line in path.read_text().splitlines()
        )
        return {
            part: {name for name, tag in tags.items() if tag == wanted}
            for part, wanted in (("train", "1"), ("test", "2"))
        }

    def recording(self, path: Path) -> str:
        return path.stem.partition(f"_{path.parent.name}_")[0]  # April_09_wave_u_nm_np1_fr_goo_0
