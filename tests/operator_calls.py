"""The operators of the kernels, and what to call them with."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import covlayers.functional  # noqa: F401  # defines them
from tests.properties import weights_like

COEFFICIENTS = [1.875, -1.25, 0.375] * 3


def arguments(name: str, A: Tensor) -> tuple[Any, ...]:
    scale = torch.linalg.matrix_norm(A, keepdim=True)
    return {
        "symmetric_part": (A,),
        "newton_schulz": (A, 3, True, True),
        "newton_schulz_gradient": (A, scale, weights_like(A), weights_like(A).mT, 3),
        "approximants": (A, [0.9, 0.5], [0.8, 0.4], True),
        "roots": (A, COEFFICIENTS, True, True, True, True),
        "root_gradient": (A, A, weights_like(A), weights_like(A).mT, 0.01, 5),
        "smith": (A, weights_like(A), scale, 0.01, 5),
        "sign": (A, weights_like(A), scale, 8),
    }[name]


OPERATORS: dict[str, Callable[..., Any]] = {
    name: getattr(torch.ops.covlayers, name).default
    for name in (
        *("symmetric_part", "roots", "root_gradient", "smith", "sign"),
        *("newton_schulz", "newton_schulz_gradient", "approximants"),
    )
}
