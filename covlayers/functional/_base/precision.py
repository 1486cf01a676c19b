"""Half inputs compute in float32, and autocast stays out of the linear algebra."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
HALVES = (torch.float16, torch.bfloat16)


def full(x: Tensor) -> Tensor:
    """A half tensor in float32, any other as it is."""
    return x.float() if x.dtype in HALVES else x


def no_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """A context in which nothing on the device of ``x`` is autocast; on meta nothing ever is."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` outside autocast, with half tensors raised to float32.

    Results return to the half dtype that came in; float32 and float64 pass untouched. What came in
    is the positional tensors, or those by keyword where there are none: of several dtypes, they are
    left for the function's own checks. Half tensors by keyword are raised with them.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        tensors = _tensors(args) or _tensors(kwargs.values())
        if not tensors:
            return function(*args, **kwargs)
        dtype = tensors[0].dtype
        half = dtype in HALVES and all(tensor.dtype == dtype for tensor in tensors)
        raised: Any = [_raised(arg) if half else arg for arg in args]
        named: Any = {name: _raised(arg) if half else arg for name, arg in kwargs.items()}
        with no_autocast(tensors[0]):
            result: Any = function(*raised, **named)
        if half:
            many = isinstance(result, tuple)
            result = tuple(r.to(dtype) for r in result) if many else result.to(dtype)
        return cast(R, result)

    return wrapper


def _tensors(arguments: Iterable[object]) -> list[Tensor]:
    return [arg for arg in arguments if isinstance(arg, Tensor)]


def _raised(arg: object) -> object:
    return full(arg) if isinstance(arg, Tensor) else arg
