"""Pairs of pictures, one for the content and one for the style."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from common.reproducible import EpochSampler, training_seed

Pictures = Mapping[str, Tensor]
"""Pictures :math:`(3, H, W)` in [0, 1], of any size, by name."""

Pair = tuple[Tensor, Tensor]
"""A content and a style."""


class Sources(NamedTuple):
    """Where the contents and the styles of a split come from."""

    contents: Pictures
    styles: Pictures


class DrawnPairs(Dataset):
    """Pairs drawn at random, endlessly many; an epoch takes a fixed number of them.

    What a pair shows follows from its number and the seed of the training, whoever loads it.

    Args:
        sources: where they are from.
        transform: of every picture; it may draw from torch's global generator.
        length: pairs in an epoch.
    """

    def __init__(self, sources: Sources, transform: nn.Module, length: int) -> None:
        self.sources, self.transform, self.length = sources, transform, length
        self.names = [list(pictures) for pictures in sources]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Pair:
        seed = np.random.SeedSequence((training_seed(), number)).generate_state(1)[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seed))
            content, style = (
                self.transform(pictures[names[torch.randint(len(names), ())]])
                for pictures, names in zip(self.sources, self.names, strict=True)
            )
        return content, style


class EndlessSampler(EpochSampler):
    """A sampler whose indices in an epoch begin where the epoch before ended."""

    def __iter__(self) -> Iterator[int]:
        return (self.epoch * len(self.dataset) + index for index in super().__iter__())


class AllPairs(Dataset):
    """Every content with every style; a picture that is both is not paired with itself.

    Args:
        sources: where they are from.
        transform: of every picture.
    """

    def __init__(self, sources: Sources, transform: nn.Module) -> None:
        self.sources, self.transform = sources, transform
        alike = sources.contents is sources.styles
        self.names = [pair for pair in product(*sources) if not (alike and pair[0] == pair[1])]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pair:
        content, style = self.names[index]
        pictures = self.sources.contents[content], self.sources.styles[style]
        return self.transform(pictures[0]), self.transform(pictures[1])
