"""Every type and layout, autocast on and off: the type that came, and its own rounding alone."""

import math
import runpy
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from bad_calls import GOOD, tensors_of
from built import KINDS, MODULES, sample
from laid_out import SETTINGS, Setting
from rows import Row
from tally import Tally
from torch import Tensor, nn

from covlayers import functional as F

AREA = "precision"
CONTRACT = runpy.run_path(str(Path(__file__).parents[1] / "modules" / "test_contract.py"))
QUICK = ("DecorrelatedBatchNorm zca", "GroupWhitening", "CovPool", "CovAttention")
ROUNDINGS = 1000
"""In float32 and float64, each a change of the entries that came by their ε; 300 were measured."""
CONVOLVED = 8
"""Roundings of a module whose convolutions autocast runs in half."""
HALF_BOUND = "ε"
FULL_BOUND = f"{ROUNDINGS} times what a change of the entries by ε makes"

Run = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Trial:
    """Something that takes tensors; built in a type, it comes with its parameters."""

    name: str
    tensors: Sequence[Tensor]
    build: Callable[[torch.dtype], tuple[Run, list[Tensor]]]
    convolves: bool = False


@dataclass(frozen=True)
class Errors:
    """Of one trial in one setting, relative to float64 on the numbers that came.

    Attributes:
        value: its error.
        gradient: the larger error of those of inputs and parameters together.
        moved: what both change by, in float64, when the entries that came change by their ε.
        typed: whether the value has the type that came.
        of_sources: whether each gradient has the type of what it is for.
        finite: whether all is.
    """

    value: float
    gradient: float
    moved: tuple[float, float]
    typed: bool
    of_sources: bool
    finite: bool


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


def share(trial: Trial, setting: Setting) -> float:
    """The larger error in units of its bound; infinite for another type or no number."""
    try:
        found = errors(trial, setting)
    except Exception:  # whatever it is, it is not what is promised
        return math.inf
    if not (found.typed and found.of_sources and found.finite):
        return math.inf
    eps = torch.finfo(setting.dtype).eps
    if setting.half:
        return max(found.value, found.gradient) / eps
    pairs = zip((found.value, found.gradient), found.moved, strict=True)
    return max(error / (ROUNDINGS * (eps + moved)) for error, moved in pairs)


def errors(trial: Trial, setting: Setting) -> Errors:
    leaves = [setting.laid(x) for x in trial.tensors]
    run, own = trial.build(setting.dtype)
    with setting.casting():
        ys = outputs(run, leaves)
    weights = [waves(y) for y in ys]
    grads = torch.autograd.grad(ys, [*leaves, *own], weights)  # outside, as PyTorch asks
    expected, slopes = in_double(trial, leaves, weights)
    changed = [rounded(leaf, torch.finfo(setting.dtype).eps) for leaf in leaves]
    moved = map(off, in_double(trial, changed, weights), (expected, slopes))
    return Errors(
        off(ys, expected),
        off(grads, slopes),
        tuple(moved),
        all(y.dtype == setting.dtype for y in ys),
        all(g.dtype == x.dtype for g, x in zip(grads, [*leaves, *own], strict=True)),
        all(bool(x.isfinite().all()) for x in (*ys, *grads)),
    )


def in_double(
    trial: Trial, leaves: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The value and the gradients."""
    run, own = trial.build(torch.float64)
    wide = [leaf.detach().double().contiguous().requires_grad_() for leaf in leaves]
    ys = outputs(run, wide)
    return ys, torch.autograd.grad(ys, [*wide, *own], [weight.double() for weight in weights])


def rounded(x: Tensor, eps: float) -> Tensor:
    """Each entry off by its ε, up or down; a symmetric matrix stays one."""
    change = waves(x).double().sign() * eps
    if x.shape[-1] == x.shape[-2]:
        change = change.tril() + change.tril(-1).mT
    return x.detach().double() * (1 + change)


def outputs(run: Run, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    y = run(*tensors)
    return (y,) if isinstance(y, Tensor) else y


def waves(y: Tensor) -> Tensor:
    """Gradients from above, different for each entry."""
    return torch.sin(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).to(y.dtype)


def off(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    a, b = (torch.cat([x.detach().double().flatten() for x in xs]) for xs in (actual, expected))
    return float((a - b).norm() / b.norm())


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
    module = CONTRACT["trained"](name).train(training)
    convolves = any(isinstance(part, nn.Conv2d | nn.Linear) for part in module.modules())
    mode = "training" if training else "evaluation"
    return Trial(f"{name}, {mode}", [sample(name)], partial(copied, module), convolves)


def batch_norm(training: bool) -> Trial:
    module = nn.BatchNorm2d(6).train(training)
    return Trial("BatchNorm2d", [sample("CovPool")], partial(copied, module))


def copied(module: nn.Module, dtype: torch.dtype) -> tuple[Run, list[Tensor]]:
    """As nothing has yet moved its averages."""
    module = deepcopy(module).to(torch.float64 if dtype == torch.float64 else torch.float32)
    return module, list(module.parameters())


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
    found = errors(trial, setting)
    right = found.of_sources and found.finite and (found.typed or not setting.half)
    bound = CONVOLVED * torch.finfo(setting.autocast).eps
    return found.value / bound if right else math.inf
