"""The checks of arguments: each error says what was expected, what came, and what to do."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.functional._base.function import compiling

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
T = TypeVar("T")


def check_count(name: str, value: int, at_least: int = 1) -> None:
    """A whole number no smaller than ``at_least``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidTypeError(f"{name} must be an int, got {value!r}.")
    if value < at_least:
        raise InvalidValueError(f"{name} must be at least {at_least}, got {value}.")


def check_flag(name: str, value: bool) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise InvalidTypeError(f"{name} must be True or False, got {value!r}.")


def check_place(device: torch.device | str | None, dtype: torch.dtype | None) -> None:
    """A device that torch knows and a real floating dtype, or None for the default of either."""
    try:
        torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError) as error:
        kind = InvalidTypeError if isinstance(error, TypeError) else InvalidValueError
        raise kind(
            f"device must be a torch.device, the name of one or None, got {device!r}; torch says: "
            f"{error}"
        ) from error
    if dtype is not None and dtype not in FLOATS:
        raise InvalidTypeError(
            "dtype must be torch.float16, bfloat16, float32 or float64, or None for the default, "
            f"got {dtype!r}."
        )


def check_model(model: nn.Module) -> None:
    """A module, whole, not a class or a name."""
    if not isinstance(model, nn.Module):
        raise InvalidTypeError(f"model must be a torch.nn.Module, got {type(model).__name__}.")


def check_at_most(name: str, value: int, whole_name: str, whole: int) -> None:
    """A count no larger than another."""
    if value > whole:
        raise InvalidValueError(f"{name} must be at most {whole_name}={whole}, got {value}.")


def check_divides(name: str, value: int, whole_name: str, whole: int) -> None:
    """A divisor."""
    check_count(name, value)
    if whole % value:
        divisors = [d for d in range(1, whole + 1) if whole % d == 0]
        raise InvalidValueError(
            f"{name} must divide {whole_name}={whole}, got {value}; it may be one of {divisors}."
        )


def check_not_both(name: str, value: object, other_name: str, other: object) -> None:
    """One of two options at most, the others being None."""
    if value is not None and other is not None:
        raise InvalidValueError(
            f"{name} and {other_name} must not both be given, got {name}={value!r} and "
            f"{other_name}={other!r}; drop one of them."
        )


def groups_of(size: int, channels: int, name: str = "group_size") -> int:
    """How many groups of ``size`` channels there are."""
    check_count("num_features", channels)
    check_divides(name, size, "num_features", channels)
    return channels // size


def check_number(
    name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False
) -> None:
    """A finite real number in ``[low, high]``, or in ``(low, high]``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidTypeError(f"{name} must be a real number, got {value!r}.")
    inside = low < value <= high if open_low else low <= value <= high
    if not (inside and -math.inf < value < math.inf):  # no call: a compiled graph may trace it
        bracket = "(" if open_low else "["
        raise InvalidValueError(f"{name} must lie in {bracket}{low}, {high}], got {value}.")


def check_choice(name: str, value: str, menu: tuple[str, ...]) -> None:
    """One of a few words."""
    if value not in menu:
        raise InvalidValueError(f"{name} must be one of {list(menu)}, got {value!r}.")


def choose(name: str, value: Any, menu: Mapping[str, Callable[[], T]], family: type[T]) -> T:
    """The object of a family that ``value`` stands for: itself, or one that the menu builds."""
    if isinstance(value, family):
        return value
    if isinstance(value, str):
        if value not in menu:
            raise InvalidValueError(
                f"{name} must be one of {sorted(menu)} or a {family.__name__}, got {value!r}."
            )
        return menu[value]()
    hint = f"; write {value.__name__}() to build it" if isinstance(value, type) else ""
    raise InvalidTypeError(
        f"{name} must be one of {sorted(menu)} or a {family.__name__}, got {value!r}{hint}."
    )


def check_values(name: str, x: Tensor, fine: Tensor, expected: str) -> None:
    """Every value of ``x`` is ``fine``; a compiled graph, which cannot branch on it, asserts it."""
    if compiling():
        torch._assert_async(fine.all(), f"{name} must {expected}")
    elif not fine.all():
        some = x.detach()[~fine][:3].tolist()
        raise InvalidValueError(f"{name} must {expected}, got {some}.")
