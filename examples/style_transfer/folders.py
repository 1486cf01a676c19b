"""Pictures in folders, such as COCO for contents and WikiArt for styles."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS

from common.checks import require
from common.images import SPLIT_SEED
from data import StyleData
from pairs import Sources
from pictures import read


class Files(Mapping):
    """The pictures in a folder and its folders, read when they are asked for.

    Args:
        root: the folder.
        paths: which of its files.
    """

    def __init__(self, root: Path, paths: list[Path]) -> None:
        self.paths = {"_".join(path.relative_to(root).parts): path for path in paths}

    def __getitem__(self, name: str) -> Tensor:
        return read(self.paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


class Folders(StyleData):
    """Contents and styles in two folders, such as COCO's and WikiArt's, at any depth.

    Of each, some are drawn for validation and as many others for testing, the same for every seed.

    Args:
        contents: the folder of the contents.
        styles: the folder of the styles.
        held_out: contents and styles of each of both splits, so that their pairs are the square.
        options: the options of all pairs.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self,
        contents: str = "data/coco",
        styles: str = "data/wikiart",
        held_out: int = 8,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        require(held_out > 0, "held_out", "positive", held_out)
        self.roots, self.held_out = {"contents": contents, "styles": styles}, held_out

    def sources(self) -> dict[str, Sources]:
        parts = zip(*(self.split(*root) for root in self.roots.items()), strict=True)
        return {
            name: Sources(*both) for name, both in zip(("val", "test", "train"), parts, strict=True)
        }

    def split(self, argument: str, root: str) -> list[Files]:
        """The pictures of a folder for validation, for testing and for training."""
        paths = sorted(
            path for path in Path(root).rglob("*") if path.suffix.lower() in IMG_EXTENSIONS
        )
        if len(paths) <= 2 * self.held_out:
            raise FileNotFoundError(
                f"{len(paths)} pictures in {argument}={root!r}. --data.{argument} must hold more "
                f"than {2 * self.held_out}, as held_out={self.held_out} are for validation and "
                "as many for testing."
            )
        order = np.random.default_rng(SPLIT_SEED).permutation(len(paths))
        parts = np.split(order, [self.held_out, 2 * self.held_out])
        return [Files(Path(root), [paths[index] for index in part]) for part in parts]
