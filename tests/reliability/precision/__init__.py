"""Every type and layout, autocast on and off: the type that came, and its own rounding alone."""

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn

from covlayers import functional as F
from tests.built import KINDS, MODULES, sample, trained
from tests.reliability.bad_inputs.calls import GOOD, tensors_of
from tests.reliability.precision.laid_out import DEVICE, SETTINGS, Setting
from tests.reliability.precision.trials import Run, Trial, errors
from tests.reliability.rows import Row
from tests.reliability.tally import Tally

AREA = "precision"
QUICK = ("DecorrelatedBatchNorm zca", "GroupWhitening", "CovPool", "CovAttention")
ROUNDINGS = 1000
"""In float32 and float64, each a change of the entries that came by their ε; 300 were measured."""
CONVOLVED = 8
"""Roundings of a module whose convolutions autocast runs in half."""
TF32 = 2**-11
"""Its ε: products on a GPU may round their factors to ten bits."""
HALF_BOUND = "ε"
FULL_BOUND = f"{ROUNDINGS} times what a change of the entries by ε makes"


def rows(quick: bool) -> Iterator[Row]:
    functions = [of_function(name, GOOD[name], {}) for name in GOOD]
    functions += [
        of_function("whitening_matrix", GOOD["whitening_matrix"], {"kind": kind}) for kind in KINDS
    ]
    alone = [of_torch(torch.linalg.eigh), of_torch(torch.linalg.inv)]
    yield from in_two("functions", functions, "torch.linalg.eigh, inv", alone)
    modules = [
        of_module(name, mode) for name in (QUICK if quick else MODULES) for mode in (True, False)
    ]
    plain = [trial for trial in modules if not trial.convolves]
    alone = [batch_norm(mode) for mode in (True, False)]
    yield from in_two("modules", plain, "nn.BatchNorm2d", alone)
    yield convolved([trial for trial in modules if trial.convolves])
    if DEVICE.type == "cuda":
        yield in_tf32([*functions, *modules])


def in_two(what: str, trials: Sequence[Trial], peer: str, peers: Sequence[Trial]) -> Iterator[Row]:
    """In halves, and in full types."""
    for half, types, bound in (
        (True, "float16, bfloat16", HALF_BOUND),
        (False, "float32, float64", FULL_BOUND),
    ):
        settings = [setting for setting in SETTINGS if setting.half == half]
        tally = Tally()
        for trial in trials:
            for setting in settings:
                tally.add(f"{trial.name}, {setting}", share(trial, setting), 1)
        held = sum(share(trial, setting) <= 1 for trial in peers for setting in settings)
        beside = f"{peer}: {held} of {len(peers) * len(settings)}"
        told = f"{what} in {types}, four layouts, autocast off and to each half"
        yield tally.row(AREA, told, bound, beside=beside)


def share(trial: Trial, setting: Setting, eps: float | None = None) -> float:
    """The larger error in units of its bound; infinite for another type or no number."""
    eps = eps or torch.finfo(setting.dtype).eps
    try:
        found = errors(trial, setting, eps)
    except Exception:  # whatever it is, it is not what is promised
        return math.inf
    if not (found.typed and found.of_sources and found.finite):
        return math.inf
    if setting.half:
        return max(found.value, found.gradient) / eps
    pairs = zip((found.value, found.gradient), found.moved, strict=True)
    return max(error / (ROUNDINGS * (eps + moved)) for error, moved in pairs)


def convolved(trials: Sequence[Trial]) -> Row:
    """Under autocast to their own type, or from full types to any, and without."""
    tally = Tally()
    for trial in trials:
        for setting in SETTINGS:
            if not setting.half and (setting.autocast is None or setting.dtype == torch.float64):
                tally.add(f"{trial.name}, {setting}", share(trial, setting), 1)
            elif not setting.half or setting.autocast == setting.dtype:
                tally.add(f"{trial.name}, {setting}", half_share(trial, setting), 1)
    what = "modules with convolutions, the same settings but halves without their autocast"
    return tally.row(AREA, what, f"the above, under autocast {CONVOLVED} of its ε")


def half_share(trial: Trial, setting: Setting) -> float:
    """Where convolutions run in half: of the value, finite, with gradients of the right types."""
    bound = CONVOLVED * torch.finfo(setting.autocast).eps
    found = errors(trial, setting, bound)
    right = found.of_sources and found.finite and (found.typed or not setting.half)
    return found.value / bound if right else math.inf


def in_tf32(trials: Sequence[Trial]) -> Row:
    """With the switch of PyTorch that the library leaves as it is."""
    tally, before = Tally(), torch.get_float32_matmul_precision()
    settings = [one for one in SETTINGS if one.dtype == torch.float32 and one.autocast is None]
    torch.set_float32_matmul_precision("high")
    try:
        for trial in trials:
            for setting in settings:
                tally.add(f"{trial.name}, {setting}", share(trial, setting, TF32), 1)
    finally:
        torch.set_float32_matmul_precision(before)
    return tally.row(AREA, "functions and modules in float32 with TF32 products", FULL_BOUND)


def of_function(name: str, given: dict[str, object], options: dict[str, object]) -> Trial:
    tensors = tensors_of(name)
    rest = {key: value for key, value in given.items() if key not in tensors} | options

    def run(*values: Tensor) -> Tensor | tuple[Tensor, ...]:
        return getattr(F, name)(**dict(zip(tensors, values, strict=True)), **rest)

    return Trial(
        " ".join((name, *options.values())), list(tensors.values()), lambda dtype: (run, [])
    )


def of_torch(function: Run) -> Trial:
    return Trial(function.__name__, [GOOD["sqrtm"]["A"]], lambda dtype: (function, []))


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
    """As nothing has yet moved its averages."""
    module = deepcopy(module).to(DEVICE, torch.float64 if dtype == torch.float64 else torch.float32)
    return module, list(module.parameters())
