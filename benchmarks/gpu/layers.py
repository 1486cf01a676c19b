"""A forward and a backward pass of every layer, beside what one has in its place."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.gpu.timing import side_by_side
from benchmarks.heads import Average
from benchmarks.layers import EPS
from benchmarks.layers import features as mixed
from benchmarks.measure import Row
from benchmarks.published import isqrt_cov, mpa
from benchmarks.published_layers import TextbookIterNorm, TextbookPool
from benchmarks.zoo import SMALL, Sizes, inputs, placed, zoo

Shape = tuple[int, ...]
# The shape of the features and the channels of a group: in a full run, in a quick one.
WHITENED: dict[str, tuple[tuple[Shape, int], tuple[Shape, int]]] = {
    "whitening of a stem": (((64, 64, 32, 32), 64), ((4, 4, 4, 4), 4)),
    "whitening in one group": (((32, 256, 14, 14), 256), ((4, 8, 3, 3), 8)),
    "whitening in groups": (((32, 256, 14, 14), 64), ((4, 8, 3, 3), 4)),
}
POOLED: dict[str, tuple[Shape, Shape]] = {
    "pooling of 14 x 14": ((32, 256, 14, 14), (2, 4, 3, 3)),
    "pooling of 7 x 7": ((32, 256, 7, 7), (2, 8, 2, 2)),
}
ZOO = Sizes(64, frames=8, batch=64, clips=8, samples=4096, side=14, pooled=14, tokens=197)


def cases(setting: Setting) -> Cases:
    """The layers with targets, at the sizes of the papers."""
    return {
        name: partial(beside, partial(whitening, *sizes[setting.quick]), setting)
        for name, sizes in WHITENED.items()
    } | {
        name: partial(beside, partial(pooling, shapes[setting.quick]), setting)
        for name, shapes in POOLED.items()
    }


def other_cases(setting: Setting) -> Cases:
    """All layers at one size."""
    names = [layer.name for layer in zoo(SMALL)]
    return {name: partial(of_zoo, k, setting) for k, name in enumerate(names)}


def beside(
    build: Callable[[], tuple[Tensor, dict[str, nn.Module]]], setting: Setting
) -> Iterator[Row]:
    """The rows of layers on the same features."""
    x, layers = build()
    x = x.to(setting.device).requires_grad_()
    runs = {name: trained(layer.to(setting.device), x) for name, layer in layers.items()}
    return ({"shape": list(x.shape)} | row for row in side_by_side(runs, setting))


def whitening(shape: Shape, group_size: int) -> tuple[Tensor, dict[str, nn.Module]]:
    """Features, and what whitens them; BatchNorm for scale."""
    channels = shape[1]
    groups = channels // group_size
    layers = {
        "textbook IterNorm": TextbookIterNorm(channels, group_size, EPS),
        "BatchNorm2d": nn.BatchNorm2d(channels),
        "DecorrelatedBatchNorm": cl.DecorrelatedBatchNorm(channels, groups, EPS),
        "IterNorm": cl.IterNorm(channels, groups, EPS),
    }
    return mixed(shape, "contiguous", "cpu"), layers


def pooling(shape: Shape) -> tuple[Tensor, dict[str, nn.Module]]:
    """Features, and what pools them; the mean for scale."""
    layers = {
        "textbook iSQRT-COV": TextbookPool(isqrt_cov),
        "textbook MPA": TextbookPool(mpa),
        "mean": Average(2),
        "CovPool": cl.CovPool(),
        "ISQRTCovPool": cl.ISQRTCovPool(),
        "MPACovPool": cl.MPACovPool(),
    }
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)), layers


def of_zoo(number: int, setting: Setting) -> Iterator[Row]:
    """The rows of one layer and its counterparts."""
    layer = zoo(SMALL if setting.quick else ZOO)[number]
    x = inputs(layer.shapes, setting.device)
    sides = {layer.name: layer.run, **layer.peers}
    runs = {name: trained(placed(run, setting.device), *x) for name, run in sides.items()}
    setting = replace(setting, min_time=setting.min_time / 2)  # there are many
    return ({"shape": list(x[0].shape)} | row for row in side_by_side(runs, setting))


def trained(run: Callable[..., Tensor], *x: Tensor) -> Callable[[], Any]:
    """One forward and one backward pass."""
    learnt = [*run.parameters()] if isinstance(run, nn.Module) else []
    above: list[Tensor] = []

    def step() -> Any:
        y = run(*x)
        if not above:
            above.append(torch.ones_like(y))
        return torch.autograd.grad(y, [*x, *learnt], above[0], allow_unused=True)

    return step
