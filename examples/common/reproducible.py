"""What makes a resumed run continue as if it had never stopped.

A checkpoint holds no state of a random generator. All chance in an epoch, the order of the samples,
the augmentation on the device and that in the workers, is therefore a function of the training
seed, the epoch and the rank.
"""

import os

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.utils.data import Dataset, DistributedSampler


def training_seed() -> int:
    """The seed given to ``seed_everything``, or 0 where none was."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def epoch_seed(epoch: int, rank: int) -> int:
    """A seed for one epoch on one rank."""
    return int(np.random.SeedSequence((training_seed(), epoch, rank)).generate_state(1)[0])


class EpochSampler(DistributedSampler):
    """A shuffling sampler whose order follows from seed and epoch; Lightning tells it the epoch.

    Attributes:
        generator: for the ``DataLoader``, which takes the seed of its workers from it.

    Args:
        dataset: what is sampled.
        num_replicas: number of processes that train.
        rank: which of them this is.
        epoch: the first epoch, not 0 in a resumed run: workers fetch before Lightning tells.
    """

    def __init__(self, dataset: Dataset, num_replicas: int, rank: int, epoch: int) -> None:
        super().__init__(dataset, num_replicas, rank, shuffle=True, seed=training_seed())
        self.generator = torch.Generator()
        self.set_epoch(epoch)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.generator.manual_seed(epoch_seed(epoch, self.rank))


class EpochSeed(Callback):
    """Seed torch's global generator at the start of every training epoch."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        torch.manual_seed(epoch_seed(trainer.current_epoch, trainer.global_rank))
