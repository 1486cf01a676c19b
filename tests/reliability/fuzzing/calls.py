"""A drawn call of a public function, with what is promised of its outputs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from covlayers import functional as F
from tests.reliability.fuzzing.drawn_settings import Setting
from tests.reliability.fuzzing.references import MULTIPLE, norms


class Claim(NamedTuple):
    """An output, or what follows from it, and how far it may be from what it has to be."""

    actual: np.ndarray
    expected: np.ndarray
    bound: np.ndarray | float  # of the Frobenius norm, (*)
    dims: int = 2


Claims = Callable[..., list[Claim]]


@dataclass(frozen=True)
class Call:
    """A call of a function of ``covlayers.functional``.

    Attributes:
        function: its name.
        drawn: all that was drawn, for the report.
        setting: the part of it that every call has.
        tensors: the tensor arguments by name.
        shapes: of the outputs.
        options: the other arguments.
        claims: of the outputs as float64 arrays.
        refused: the error that it must raise instead.
        slope: per ``n eps``, how far a gradient may be from the gradient of the matrix alone; None
            where it only has to be finite.
        symmetric: whether the gradients have to be symmetric, up to rounding of this size.
    """

    function: str
    drawn: str
    setting: Setting
    tensors: Mapping[str, Tensor]
    shapes: tuple[tuple[int, ...], ...]
    options: Mapping[str, object]
    claims: Claims
    refused: type[Exception] | None = None
    slope: np.ndarray | float | None = None
    symmetric: np.ndarray | float | None = None

    def run(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The outputs."""
        function, setting = getattr(F, self.function), self.setting
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=setting.autocast):
            if setting.keyword:
                result = function(**tensors, **self.options)
            else:
                result = function(*tensors.values(), **self.options)
        return result if isinstance(result, tuple) else (result,)


def arrays(tensors: Iterable[Tensor]) -> list[np.ndarray]:
    """The tensors in float64, as they were rounded."""
    return [x.double().resolve_neg().numpy() for x in tensors]


def eps_of(setting: Setting) -> float:
    """The machine epsilon of what computes."""
    return torch.finfo(torch.float32 if setting.half else setting.dtype).eps


def noise(setting: Setting, n: int) -> float:
    """``n eps`` of what computes, times the multiple that is allowed."""
    return MULTIPLE * max(n, 1) * eps_of(setting)


def rounding(setting: Setting) -> float:
    """The relative rounding of a half result, zero for others."""
    return torch.finfo(setting.dtype).eps / 2 if setting.half else 0.0


def claim(
    setting: Setting,
    actual: np.ndarray,
    expected: np.ndarray,
    error: np.ndarray | float,
    n: int,
    dims: int = 2,
) -> Claim:
    """A claim about an output itself, with its error per ``n eps`` before it is rounded."""
    bound = noise(setting, n) * error + rounding(setting) * norms(expected, dims)
    return Claim(actual, expected, bound, dims)
