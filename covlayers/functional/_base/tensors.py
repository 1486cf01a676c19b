"""What a public function does with tensors first: check them, and raise half to float32."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from covlayers.functional._base.checks import FLOATS
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.functional._base.function import readable
from covlayers.functional._base.linalg import BEYOND_ROUNDING, largest, symmetric

P = ParamSpec("P")
R = TypeVar("R")
HALVES = (torch.float16, torch.bfloat16)


def check_tensor(name: str, x: Tensor, min_dim: int) -> None:
    """A dense, real floating point tensor with at least ``min_dim`` dimensions."""
    if not isinstance(x, Tensor):
        raise InvalidTypeError(
            f"{name} must be a torch.Tensor, got a Proxy of torch.fx, which cannot go through this "
            "layer; let Tracer.is_leaf_module keep the layer whole, as torchvision's "
            "create_feature_extractor does by tracer_kwargs={'leaf_modules': [type(layer)]}."
            if isinstance(x, torch.fx.Proxy)
            else f"{name} must be a torch.Tensor, got {type(x).__name__}; "
            "torch.as_tensor makes one."
        )
    if x.is_nested or x.layout is not torch.strided:
        raise InvalidTypeError(
            f"{name} must be a dense tensor, got a nested one; pass each of {name}.unbind() by "
            "itself, as padding would enter the statistics."
            if x.is_nested
            else f"{name} must be a dense tensor, got one of layout {x.layout}; "
            f"{name}.to_dense() makes one."
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
            f"{name} must have batch dimensions that broadcast with {first_name}'s, "
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


def symmetrised(name: str, A: Tensor) -> Tensor:
    """The symmetric part of a batch of matrices that are symmetric up to rounding.

    A matrix with a non-finite entry becomes NaN as a whole. So does one far from symmetric where
    its values are not :func:`readable`; elsewhere it raises.
    """
    # Exactly symmetric matrices, as a covariance gives, cost a comparison and a sum.
    seen = readable(A)
    if seen and torch.equal(A, A.mT) and math.isfinite(A.detach().sum()):
        return A
    part, far = symmetric_or_nan(A)
    if seen and far.any():
        raise InvalidValueError(
            f"{name} must be symmetric in its last two dimensions, got a matrix whose asymmetry "
            f"exceeds {BEYOND_ROUNDING:.0%} of its largest entry; pass ({name} + {name}.mT) / 2 "
            "if the symmetric part is what you mean."
        )
    return part


def symmetric_or_nan(A: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric parts, NaN for matrices that have none worth it; which are far from it, (*)."""
    peak = largest(A.detach())
    far = (A.detach() - A.detach().mT).amax((-2, -1)) > BEYOND_ROUNDING * peak
    spoilt = torch.where(far | ~torch.isfinite(peak), torch.nan, 0.0).to(A.dtype)
    return symmetric(A) + spoilt[..., None, None], far


def full(x: Tensor) -> Tensor:
    """A half tensor in float32, any other as it is."""
    return x.float() if x.dtype in HALVES else x


def no_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """A context in which nothing on the device of ``x`` is autocast."""
    return torch.autocast(x.device.type, enabled=False) if autocasts(x) else nullcontext()


def autocasts(x: Tensor) -> bool:
    """Whether operations on the device of ``x`` are autocast now; on meta they never are."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` outside autocast, with half tensors raised to float32.

    Results return to the half dtype of the inputs; float32 and float64 pass untouched. The inputs
    are the positional tensors, or the keyword tensors where there are no positional ones. Tensors
    of several dtypes are left for the function's own checks. Half tensors by keyword are raised
    with the positional ones.
    """

    @wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        for x in args:
            if isinstance(x, Tensor):
                if x.dtype in HALVES:
                    break
                if x.is_meta or not torch.is_autocast_enabled(x.device.type):
                    return function(*args, **kwargs)
                with torch.autocast(x.device.type, enabled=False):
                    return function(*args, **kwargs)
        return _raised(function, args, kwargs)

    # The compiler limits how often one code object is compiled, and all wrappers would share one.
    own: Any = wrapper
    own.__code__ = own.__code__.replace(co_name=function.__name__)
    return wrapper


def _raised(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    inputs = [one for one in args if isinstance(one, Tensor)]
    inputs = inputs or [one for one in kwargs.values() if isinstance(one, Tensor)]
    if not inputs:
        return function(*args, **kwargs)
    dtype = inputs[0].dtype
    half = dtype in HALVES and all(one.dtype == dtype for one in inputs)
    if half:
        args = tuple(full(one) if isinstance(one, Tensor) else one for one in args)
        kwargs = {k: full(one) if isinstance(one, Tensor) else one for k, one in kwargs.items()}
    with no_autocast(inputs[0]):
        result = function(*args, **kwargs)
    if not half:
        return result
    return tuple(r.to(dtype) for r in result) if isinstance(result, tuple) else result.to(dtype)


@lru_cache(maxsize=2**10)
def run_length(M: int, *strides: tuple[int, ...]) -> int:
    """How many of ``M`` positions one read may take, a power of two up to 8.

    From each multiple of it on they are neighbours in memory, by the strides of every tensor
    ``(N, C, M)``. A GPU reads 16 bytes at once at most, 8 numbers of half precision.
    """
    if any(along != 1 for *_, along in strides):
        return 1
    return math.gcd(8, M, *(step for others in strides for step in others[:-1]))
