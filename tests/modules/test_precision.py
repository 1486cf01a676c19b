"""Modules in every type and layout, autocast on and off: the type that came, and its rounding."""

from copy import deepcopy
from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from tests.built import MODULES, sample, trained
from tests.counted import Counted
from tests.precision.laid_out import DEVICE, Setting
from tests.precision.shares import (
    CONVOLVED,
    FULL_BOUND,
    TYPES,
    half_share,
    of_peers,
    settings_of,
    share,
    try_all,
)
from tests.precision.trials import Run, Trial

AREA = "precision"
QUICK_SHARE = 12  # of the settings, others for each module


def convolves(name: str) -> bool:
    return any(isinstance(part, nn.Conv2d | nn.Linear) for part in MODULES[name]().modules())


PLAIN = [name for name in MODULES if not convolves(name)]
CONVOLVING = [name for name in MODULES if convolves(name)]


def of_module(name: str, training: bool) -> Trial:
    torch.manual_seed(0)
    module = trained(name).train(training)
    convolves = any(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())
    mode = "training" if training else "evaluation"
    return Trial(f"{name}, {mode}", [sample(name)], partial(copied, module), convolves)


def batch_norm(training: bool) -> Trial:
    module = nn.BatchNorm2d(6).train(training)
    return Trial("BatchNorm2d", [sample("CovPool")], partial(copied, module))


def copied(module: nn.Module, dtype: torch.dtype) -> tuple[Run, list[Tensor]]:
    """A copy whose averages nothing has moved yet."""
    module = deepcopy(module).to(DEVICE, torch.float64 if dtype == torch.float64 else torch.float32)
    return module, list(module.parameters())


def some(name: str, types: str, full: bool) -> list[Setting]:
    share = 1 if full else QUICK_SHARE
    return settings_of(types, share=share, first=[*MODULES].index(name))


@pytest.mark.promise(AREA, "modules in {types}, four layouts, autocast off and to each half")
@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("name", PLAIN)
def test_types_and_layouts(name: str, types: str, full: bool, counted: Counted) -> None:
    for training in (True, False):
        try_all(of_module(name, training), some(name, types, full), counted)
    if full:
        peers = [batch_norm(mode) for mode in (True, False)]
        counted.beside = of_peers("nn.BatchNorm2d", peers, types)


@pytest.mark.promise(
    AREA, "modules with convolutions, the same settings but halves without their autocast"
)
@pytest.mark.parametrize("name", CONVOLVING)
def test_convolving(name: str, full: bool, counted: Counted) -> None:
    """Under autocast to their own type, or from full types to any, and without."""
    settings = [setting for types in TYPES for setting in some(name, types, full)]
    for training, setting in product((True, False), settings):
        trial = of_module(name, training)
        if not setting.half and (setting.autocast is None or setting.dtype == torch.float64):
            found, bound = share(trial, setting), FULL_BOUND
        elif not setting.half or setting.autocast == setting.dtype:
            found, bound = half_share(trial, setting), f"{CONVOLVED} ε of its autocast"
        else:
            continue
        counted.within(trial.name, setting, error=found, bound=1, of=bound)
