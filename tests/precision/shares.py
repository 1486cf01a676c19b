"""Errors in units of what each type and layout is allowed."""

import math
from collections.abc import Sequence

import torch

from tests.counted import Counted
from tests.precision.laid_out import DEVICE, SETTINGS, Setting
from tests.precision.trials import Trial, errors

ROUNDINGS = 1000
"""Allowed in float32 and float64, in changes of the input's entries by their ε; 300 measured."""
CONVOLVED = 8
"""Roundings of a module whose convolutions autocast runs in half."""
TF32 = 2**-11
"""Its ε: products on a GPU may round their factors to ten bits."""
HALF_BOUND = "ε"
FULL_BOUND = f"{ROUNDINGS} times what a change of the entries by ε makes"
TYPES = {"float16, bfloat16": True, "float32, float64": False}


def settings_of(types: str, *, share: int = 1, first: int = 0) -> list[Setting]:
    """The settings of half types, or of full types: one in ``share`` of them."""
    settings = [setting for setting in SETTINGS if setting.half == TYPES[types]]
    return settings[first % share :: share]


def try_all(trial: Trial, settings: Sequence[Setting], counted: Counted) -> None:
    for setting in settings:
        bound = HALF_BOUND if setting.half else FULL_BOUND
        counted.within(trial.name, setting, error=share(trial, setting), bound=1, of=bound)
        if DEVICE.type == "cuda" and setting.dtype == torch.float32 and setting.autocast is None:
            in_tf32(trial, setting, counted)


def of_peers(name: str, trials: Sequence[Trial], types: str) -> str:
    """In how many of the settings other libraries hold it too."""
    settings = settings_of(types)
    held = sum(share(trial, setting) <= 1 for trial in trials for setting in settings)
    return f"{name}: {held} of {len(trials) * len(settings)}"


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


def half_share(trial: Trial, setting: Setting) -> float:
    """Where convolutions run in half: of the value, finite, with gradients of the right types."""
    bound = CONVOLVED * torch.finfo(setting.autocast).eps
    found = errors(trial, setting, bound)
    right = found.of_sources and found.finite and (found.typed or not setting.half)
    return found.value / bound if right else math.inf


def in_tf32(trial: Trial, setting: Setting, counted: Counted) -> None:
    """A trial with TF32 switched on in PyTorch, which the library leaves as it is."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        error = share(trial, setting, TF32)
        counted.within(trial.name, setting, "TF32", error=error, bound=1, of=FULL_BOUND)
    finally:
        torch.set_float32_matmul_precision(before)
