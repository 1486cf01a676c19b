"""What the data of the examples share: their loaders, and how labelled inputs reach the network."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from common.checks import require
from common.reproducible import EpochSampler

Splits = dict[str, Dataset]


class Data(LightningDataModule):
    """Loaders of three splits, the training one in an order that follows from seed and epoch.

    Attributes:
        sampler: what orders the training samples.

    Args:
        batch_size: samples a step, on each device.
        num_workers: processes that load.

    Raises:
        ValueError: if a number is out of range.
    """

    sampler: ClassVar[type[EpochSampler]] = EpochSampler

    def __init__(self, batch_size: int = 128, num_workers: int = 0) -> None:
        super().__init__()
        require(batch_size > 0, "batch_size", "positive", batch_size)
        require(num_workers >= 0, "num_workers", "0 or more", num_workers)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.splits: Splits = {}
        self.first_epoch = 0

    def load(self) -> Splits:
        """The datasets ``train``, ``val`` and ``test``."""
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
        sampler = self.sampler(self.splits["train"], world_size, rank, self.first_epoch)
        return self.loader("train", sampler=sampler, generator=sampler.generator, drop_last=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader("val")

    def test_dataloader(self) -> DataLoader:
        return self.loader("test")

    def predict_dataloader(self) -> DataLoader:
        return self.loader("test")


class LabelledData(Data):
    """Batches of bytes ``(*, C, H, W)`` with labels.

    A batch is augmented and normalised after it has reached the device. A data module adds
    ``load``, the mean and deviation of its pixels, and the names of its classes.
    """

    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    class_names: Sequence[str]

    def augment(self, x: Tensor) -> Tensor:
        """A training batch, changed at random."""
        return x

    def normalise(self, x: Tensor) -> Tensor:
        """Bytes as the network takes them."""
        mean, std = x.new_tensor((self.mean, self.std), dtype=torch.float)[..., None, None]
        return (x - mean) / std

    def on_after_batch_transfer(self, batch: list[Tensor], _: int) -> tuple[Tensor, Tensor]:
        x, labels = batch
        return self.normalise(self.augment(x) if self.trainer.training else x), labels
