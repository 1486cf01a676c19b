"""Layers in models that torch and Lightning are told to synchronise, which is for torch's own."""

import copy
import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import covlayers
from tests.built import MODULES, sample
from tests.distributed.parity import LAYERS

SAMPLES, STEPS = 8, 3
NORMS = {**LAYERS, "GroupWhitening": lambda: covlayers.GroupWhitening(8, 2)}


def class_of(part: nn.Module) -> str:
    """The name of its class; torch's batch normalisations, which may be converted, share one."""
    kind = type(part)
    torchs = isinstance(part, _BatchNorm) and kind.__module__.startswith("torch.")
    return "BatchNorm" if torchs else kind.__qualname__


def stays_whole(name: str) -> bool:
    """Whether torch's conversion leaves classes, state and evaluation of a module as they were."""
    torch.manual_seed(0)
    model = nn.ModuleList([MODULES[name](), nn.BatchNorm2d(6)])
    x = sample(name)
    model[0](x)
    model.eval()
    before, y = copy.deepcopy(model), model[0](x)
    model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    state = model.state_dict()
    return (
        isinstance(model[1], nn.SyncBatchNorm)
        and [*map(class_of, model.modules())] == [*map(class_of, before.modules())]
        and state.keys() == before.state_dict().keys()
        and all(torch.equal(value, state[key]) for key, value in before.state_dict().items())
        and torch.equal(model[0](x), y)
    )


class Branches(pl.LightningModule):
    """Every layer beside the others, and none of torch's, which a CPU does not synchronise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3)
        self.norms = nn.ModuleDict({name: build() for name, build in NORMS.items()})
        self.head = nn.Conv2d(8 * len(NORMS), 2, 3)
        self.double()

    def training_step(self, batch: list[Tensor], index: int = 0) -> Tensor:
        x = self.stem(batch[0])
        return self.head(torch.cat([norm(x) for norm in self.norms.values()], 1)).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_start(self) -> None:
        self.classes = {name: type(norm).__qualname__ for name, norm in self.norms.items()}


def loader(rank: int, processes: int) -> DataLoader[tuple[Tensor, ...]]:
    """The share of a process in batches of the same samples."""
    generator = torch.Generator().manual_seed(4)
    x = 1 + torch.randn(SAMPLES * STEPS, 3, 7, 7, generator=generator, dtype=torch.float64)
    data = TensorDataset(x)
    sampler = DistributedSampler(data, processes, rank, shuffle=False)
    return DataLoader(data, batch_size=SAMPLES // processes, sampler=sampler)


def by_lightning() -> Iterator[tuple[str, Any]]:
    """The classes in training and the state after it, in a process that torchrun has started."""
    rank, processes = dist.get_rank(), dist.get_world_size()
    ranks = {"RANK": f"{rank}", "LOCAL_RANK": f"{rank}", "WORLD_SIZE": f"{processes}"}
    os.environ.update(ranks | {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "none"})
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    model = Branches()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp",
        sync_batchnorm=True,
        use_distributed_sampler=False,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    convert = nn.SyncBatchNorm.convert_sync_batchnorm
    with patch.object(nn.SyncBatchNorm, "convert_sync_batchnorm", side_effect=convert) as called:
        trainer.fit(model, loader(rank, processes))
    yield "converted", called.called
    yield "classes", model.classes
    yield "state", model.state_dict()


def by_hand() -> dict[str, Tensor]:
    """The state after the same training in one process."""
    model = Branches()
    optimizer = model.configure_optimizers()
    for batch in loader(0, 1):
        optimizer.zero_grad()
        model.training_step(batch).backward()
        optimizer.step()
    return model.state_dict()


def held_by_lightning(found: Mapping[str, list[Any]]) -> dict[str, bool]:
    """Each layer, after a conversion that has been tried on every process."""
    alone, states = by_hand(), found.get("state", [])
    tried = found.get("converted") == [True] * 2 and len(states) == 2
    held = {}
    for name, build in NORMS.items():
        keys = [key for key in alone if key.startswith(f"norms.{name}.")]
        held[name] = (
            tried
            and [each[name] for each in found["classes"]] == [type(build()).__qualname__] * 2
            and all(state.keys() == alone.keys() for state in states)
            and all(
                torch.allclose(state[key], alone[key], rtol=1e-11, atol=1e-11)
                for state in states
                for key in keys
            )
        )
    return held
