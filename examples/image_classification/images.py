"""What all data of this example share: batches of labelled images on their way to the network.

A batch travels as bytes; it is augmented and normalised after it has reached the device.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from augment import random_flip, random_shift
from checks import require
from reproducible import EpochSampler

SPLIT_SEED = 0
"""Splits are drawn with this seed, whatever the seed of the training."""

Splits = dict[str, Dataset]


def stratified_split(labels: np.ndarray, held_out: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of those kept and of ``held_out`` others, with the classes in equal proportion."""
    indices = np.arange(len(labels))
    return tuple(
        train_test_split(indices, test_size=held_out, stratify=labels, random_state=SPLIT_SEED)
    )


class Images(LightningDataModule):
    """What the data modules share: loaders, augmentation and normalisation.

    A data module adds ``load``, the mean and deviation of its pixels, and the names of its classes.

    Args:
        batch_size: images a step, on each device.
        num_workers: processes that load.
        shift: training images move by up to so many pixels.
        flip: training images are mirrored half of the time.

    Raises:
        ValueError: if a number is out of range.
    """

    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    class_names: Sequence[str]

    def __init__(
        self, batch_size: int = 128, num_workers: int = 0, shift: int = 0, flip: bool = False
    ) -> None:
        super().__init__()
        require(batch_size > 0, "batch_size", "positive", batch_size)
        require(num_workers >= 0, "num_workers", "0 or more", num_workers)
        require(shift >= 0, "shift", "0 pixels or more", shift)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.shift, self.flip = shift, flip
        self.splits: Splits = {}
        self.first_epoch = 0

    def load(self) -> Splits:
        """The datasets ``train``, ``val`` and ``test``, of byte images and labels."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        self.splits = self.splits or self.load()

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.trainer.fit_loop.epoch_progress.current.processed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first_epoch = state["epoch"]

    def loader(self, split: str, **options: Any) -> DataLoader:
        return DataLoader(
            self.splits[split],
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            **options,
        )

    def train_dataloader(self) -> DataLoader:
        world_size, rank = self.trainer.world_size, self.trainer.global_rank
        sampler = EpochSampler(self.splits["train"], world_size, rank, self.first_epoch)
        return self.loader("train", sampler=sampler, generator=sampler.generator, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader:
        return self.loader("test")

    def predict_dataloader(self) -> DataLoader:
        return self.loader("test")

    def on_after_batch_transfer(self, batch: list[Tensor], _: int) -> tuple[Tensor, Tensor]:
        images, labels = batch
        if self.trainer.training and self.shift:
            images = random_shift(images, self.shift)
        if self.trainer.training and self.flip:
            images = random_flip(images)
        mean, std = images.new_tensor((self.mean, self.std), dtype=torch.float)[..., None, None]
        return (images - mean) / std, labels
