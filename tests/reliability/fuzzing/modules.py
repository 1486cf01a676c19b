"""Random inputs of every module: shapes, types, memory, training and evaluation."""

import copy
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from covlayers import functional as F
from tests.built import (
    ATTENTION,
    BATCH_NORMS,
    HEADS,
    MODULES,
    NORMS,
    POOLS,
    STYLE,
    TEMPORAL,
    features,
    sample,
    weighted,
)
from tests.reliability.fuzzing.checks import memory
from tests.reliability.fuzzing.drawn_settings import DTYPES, HALVES, LAYOUTS

FAMILIES: Mapping[str, Mapping[str, object]] = {
    "normalisations": NORMS,
    "poolings": POOLS,
    "attention": ATTENTION,
    "heads on tokens": HEADS,
    "layers of clips": TEMPORAL,
    "style transfer": STYLE,
}
SAME = 1e-6
"""The largest difference in float64, also for singular covariances."""

IN_MEMORY = LAYOUTS | {
    "channels last": lambda x: x.movedim(1, -1).contiguous().movedim(-1, 1),
}


@dataclass(frozen=True)
class Given:
    """An input of a module: ``N`` samples, of ``T`` frames for a clip, ``H`` by ``W`` positions."""

    name: str
    N: int
    T: int
    H: int
    W: int
    layout: str
    dtype: torch.dtype
    training: bool
    seed: int

    def values(self) -> Tensor:
        """The input in float64; for style transfer content and style."""
        number = self.N * (self.T if self.name in TEMPORAL else 1 + (self.name in STYLE))
        blocks = features(4 * number, seed=self.seed).double().unflatten(0, (2, 2, number))
        maps = blocks.permute(2, 3, 0, 4, 1, 5).reshape(number, 6, 10, 8)[..., : self.H, : self.W]
        if self.name in HEADS:
            return maps.flatten(2).mT
        return maps.unflatten(0, (self.N, self.T)) if self.name in TEMPORAL else maps

    def refused(self) -> bool:
        """Whether there are fewer positions than is documented."""
        M = self.H * self.W
        if self.name in NORMS and self.name != "SwitchableWhitening":
            return self.training and self.name in BATCH_NORMS and self.N * M < 2
        if self.name in HEADS:
            return M - MODULES[self.name]().class_token < 2
        if self.name == "TemporalSpatialAttention":
            return self.training and self.N * self.T * M < 2
        if self.name in TEMPORAL:
            frames = 1 if self.name.endswith("frame") else self.T
            return "CovPool" in self.name and frames * M < 2
        return M < 2


def given_to(family: str) -> st.SearchStrategy[Given]:
    return st.builds(
        Given,
        name=st.sampled_from(sorted(FAMILIES[family])),
        N=st.integers(1, 5),
        T=st.integers(1, 4),
        H=st.integers(1, 7),
        W=st.integers(1, 7),
        layout=st.sampled_from(sorted(IN_MEMORY)),
        dtype=st.sampled_from(DTYPES),
        training=st.booleans(),
        seed=st.integers(0, 99),
    )


@cache
def prepared(name: str) -> nn.Module:
    """A module with running averages that differ from the start."""
    torch.manual_seed(0)
    module = MODULES[name]()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        module(sample(name))
    return module


def fresh(given: Given, dtype: torch.dtype) -> nn.Module:
    return copy.deepcopy(prepared(given.name)).to(dtype).train(given.training)


def problem_of(given: Given) -> str:
    """What is promised and was not done; empty if all was."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*positions for the covariance")
            return "; ".join(problems(given))
    except Exception as error:  # whatever it is, it is judged
        right = given.refused() and isinstance(error, F.InvalidValueError)
        return "" if right else f"raises {type(error).__name__}: {error}"


def problems(given: Given) -> Iterator[str]:
    dtype, half = given.dtype, given.dtype in HALVES
    module = fresh(given, torch.float32 if half else dtype)
    mixed = half and any(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())
    x = IN_MEMORY[given.layout](given.values().to(dtype)).detach().requires_grad_()
    before = memory(x)
    with torch.autocast("cpu", dtype=dtype if half else None, enabled=mixed):
        y = module(x)
    grads = torch.autograd.grad(weighted(y), [x, *module.parameters()])
    if given.refused():
        yield "does not raise InvalidValueError"
        return
    if not torch.equal(memory(x), before):
        yield "writes its input"
    if (y.dtype, grads[0].dtype, grads[0].shape) != (dtype, dtype, x.shape):
        yield f"gives {y.dtype} and a gradient {tuple(grads[0].shape)} {grads[0].dtype}"
    if not all(part.isfinite().all() for part in (y, *grads)):
        yield "is not finite"
    if half and not mixed:
        wide = fresh(given, torch.float32)(x.detach().float())
        if not torch.equal(wide.to(dtype), y):
            yield "is not the result in float32, rounded"
    yield from differences(given)


def differences(given: Given) -> Iterator[str]:
    """What differs in float64: from the input in order, and for a sample from the sample alone."""
    x = IN_MEMORY[given.layout](given.values())
    y = fresh(given, torch.float64)(x)
    ordered = fresh(given, torch.float64)(x.clone(memory_format=torch.contiguous_format))
    if (y - ordered).norm() > SAME * ordered.norm():
        yield "depends on how its input lies in memory"
    if given.training:
        return
    for index in range(given.N):
        own = [index, given.N + index] if given.name in STYLE else [index]
        alone = fresh(given, torch.float64)(x[own])
        if (y[index] - alone[0]).norm() > SAME * alone.norm():
            yield f"depends on the neighbours of sample {index}"
