"""Training steps of whole networks: bfloat16 autocast, channels last, SGD, on random images."""

from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.gpu.setting import Cases, Setting, Skipped
from benchmarks.gpu.timing import side_by_side
from benchmarks.measure import Row, milliseconds, settled

REDUCED = 256
GROUP = 64
# Batch and pixels: in a full run, in a quick one.
LARGE, SMALL = ((64, 224), (2, 64)), ((128, 32), (2, 16))
POOLS = {"CovPool": cl.CovPool, "ISQRTCovPool": cl.ISQRTCovPool, "MPACovPool": cl.MPACovPool}


def models() -> ModuleType:
    """Of torchvision."""
    try:
        return import_module("torchvision.models")
    except ModuleNotFoundError as error:
        raise Skipped(f"not installed: {error.name}") from None


def resnet50(pool: Callable[..., nn.Module] | None = None) -> nn.Module:
    """A ResNet-50 with its mean pooling, or with covariances of reduced channels."""
    model = models().resnet50()
    return model if pool is None else cl.replace_head(model, pool, 1000, reduced_channels=REDUCED)


def resnet18(where: str | None = "nowhere") -> nn.Module:
    """A ResNet-18 for images of 32 pixels, of which some norms whiten, or all (None)."""
    model = models().resnet18(num_classes=10)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    if where == "nowhere":
        return model
    return cl.convert_batchnorm(model, where=where, group_size=GROUP, eps=1e-3)


FAMILIES: dict[str, dict[str, Callable[[], nn.Module]]] = {
    "ResNet-50": {"mean": resnet50}
    | {name: partial(resnet50, pool) for name, pool in POOLS.items()},
    "ResNet-18": {
        "BatchNorm2d": resnet18,
        "whitening stem": partial(resnet18, "stem"),
        "whitened throughout": partial(resnet18, None),
    },
}
PROMISED = ("mean", "CovPool", "BatchNorm2d", "whitened throughout")
SIZES = {"ResNet-50": LARGE, "ResNet-18": SMALL}


def cases(setting: Setting) -> Cases:
    """Each family, its members in turns."""
    return {name: partial(eager, name, setting) for name in FAMILIES}


def compiled_cases(setting: Setting) -> Cases:
    """Each network by itself, the small ones first: to compile one may take a minute."""
    return {
        f"{family}, {name}": partial(compiled, family, name, setting)
        for family in reversed(FAMILIES)
        for name in FAMILIES[family]
        if name in PROMISED
    }


def eager(family: str, setting: Setting) -> Iterator[Row]:
    """The rows of a family."""
    torch.manual_seed(0)
    batch = images(family, setting)
    networks = {
        name: build()
        for name, build in FAMILIES[family].items()
        if name in PROMISED or not setting.quick
    }
    steps = {name: step(model, batch, setting) for name, model in networks.items()}
    return ({"shape": list(batch.shape)} | row for row in side_by_side(steps, setting))


def compiled(family: str, name: str, setting: Setting) -> Iterator[Row]:
    """One network, compiled as it is by default."""
    setting.need_gpu()
    torch.manual_seed(0)
    batch = images(family, setting)
    run = step(FAMILIES[family][name](), batch, setting, compiled=True)
    settled(run)
    ((median, iqr),) = milliseconds([run], setting.min_time)
    yield {"what": name, "shape": list(batch.shape), "wall_ms": median, "wall_iqr_ms": iqr}


def images(family: str, setting: Setting) -> Tensor:
    """A batch of them, channels last."""
    batch, side = SIZES[family][setting.quick]
    x = torch.randn(batch, 3, side, side, device=setting.device)
    return x.contiguous(memory_format=torch.channels_last)


def step(
    model: nn.Module, batch: Tensor, setting: Setting, *, compiled: bool = False
) -> Callable[[], Any]:
    """Forward, loss, backward, and a step of the optimiser."""
    model = model.to(setting.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    labels = torch.zeros(len(batch), dtype=torch.long, device=setting.device)
    forward = torch.compile(model) if compiled else model

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(setting.device, torch.bfloat16):
            loss = nn.functional.cross_entropy(forward(batch), labels)
        loss.backward()
        optimizer.step()

    return train
