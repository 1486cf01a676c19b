"""The checks of arguments: each error says what was expected, what came, and what to do."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
T = TypeVar("T")


def check_tensor(name: str, x: Tensor, min_dim: int) -> None:
    """A real floating point tensor with at least ``min_dim`` dimensions."""
    if not isinstance(x, Tensor):
        raise InvalidTypeError(
            f"{name} must be a torch.Tensor, got {type(x).__name__}; torch.as_tensor makes one."
        )
    if x.dtype not in FLOATS:
        raise InvalidTypeError(
            f"{name} must have a real floating dtype (float16, bfloat16, float32 or float64), "
            f"got {x.dtype}; convert it first, e.g. {name}.float()."
        )
    if x.dim() < min_dim:
        raise InvalidValueError(
            f"{name} must have at least {min_dim} dimensions, got shape {tuple(x.shape)}; "
            f"{name}.unsqueeze(0) adds one."
        )


def check_square(name: str, A: Tensor) -> None:
    """A batch of square matrices ``(*, n, n)``."""
    check_tensor(name, A, 2)
    if A.shape[-1] != A.shape[-2]:
        raise InvalidValueError(
            f"{name} must be square in its last two dimensions, got shape {tuple(A.shape)}; "
            "covariance(x) makes a square matrix of features (*, C, M)."
        )


def check_same(first_name: str, first: Tensor, name: str, x: Tensor) -> None:
    """Two tensors of one dtype on one device."""
    if x.dtype != first.dtype:
        raise InvalidTypeError(
            f"{name} must have the dtype of {first_name}, {first.dtype}, got {x.dtype}; "
            f"convert one of them, e.g. {name}.to({first_name})."
        )
    if x.device != first.device:
        raise InvalidValueError(
            f"{name} must be on the device of {first_name}, {first.device}, got {x.device}; "
            f"move one of them, e.g. {name}.to({first_name})."
        )


def check_shape(name: str, x: Tensor, expected: tuple[int, ...], reason: str) -> None:
    """The last dimensions of ``x`` are ``expected``."""
    if tuple(x.shape[x.dim() - len(expected) :]) != expected:
        raise InvalidValueError(
            f"{name} must have shape (*, {', '.join(map(str, expected))}) {reason}, "
            f"got {tuple(x.shape)}."
        )


def check_channels(name: str, x: Tensor, argument: str, channels: int) -> None:
    """Features ``(N, C, *)`` with the channels that a layer was built for."""
    check_tensor(name, x, 2)
    if x.shape[1] != channels:
        raise InvalidValueError(
            f"{name} must have {argument}={channels} channels in dimension 1, got shape "
            f"{tuple(x.shape)}."
        )


def check_broadcast(first_name: str, first: Tensor, name: str, x: Tensor) -> None:
    """Two batches of matrices whose batch dimensions broadcast."""
    try:
        torch.broadcast_shapes(first.shape[:-2], x.shape[:-2])
    except RuntimeError:
        raise InvalidValueError(
            f"{name} must have batch dimensions that broadcast with those of {first_name}, "
            f"{tuple(first.shape[:-2])}, got {tuple(x.shape[:-2])}; one matrix fits any batch."
        ) from None


def check_positions(name: str, x: Tensor, at_least: int, first: int = -1) -> None:
    """Enough positions, from dimension ``first`` on, for a covariance."""
    if math.prod(x.shape[first:]) < at_least:
        where = "in its last dimension" if first == -1 else f"from dimension {first} on"
        raise InvalidValueError(
            f"{name} must have at least {at_least} positions {where}, got shape "
            f"{tuple(x.shape)}; a covariance needs several observations of each channel."
        )


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


def check_values(name: str, x: Tensor, fine: Tensor, expected: str) -> None:
    """Every value of ``x`` is ``fine``; a compiled graph, which cannot branch on it, asserts it."""
    if torch.compiler.is_compiling():
        torch._assert_async(fine.all(), f"{name} must {expected}")
    elif not fine.all():
        some = x.detach()[~fine][:3].tolist()
        raise InvalidValueError(f"{name} must {expected}, got {some}.")


def check_choice(name: str, value: str, menu: tuple[str, ...]) -> None:
    """One of a few words."""
    if value not in menu:
        raise InvalidValueError(f"{name} must be one of {list(menu)}, got {value!r}.")


def choose(name: str, value: Any, menu: Mapping[str, Callable[[], T]], family: type[T]) -> T:
    """The object of a family that ``value`` stands for: itself, or a fresh one of the menu."""
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
