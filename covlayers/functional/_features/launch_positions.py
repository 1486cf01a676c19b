"""One launch for each step on the side of the positions: a program for each sample."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from covlayers.functional._base.launching import launch
from covlayers.functional._features import root_gradient_triton, sign_triton
from covlayers.functional._features.launch import BLOCK, padded, strides_of_gradient
from covlayers.functional._features.newton_schulz_triton import (
    PASSING,
    gradient_of_newton_schulz,
    newton_schulz_from_positions,
)
from covlayers.functional._features.root_triton import root_from_positions
from covlayers.functional._features.series_triton import (
    pade_from_positions,
    taylor_from_positions,
)
from covlayers.functional._iterations.strided import PRECISION


def launch_root(
    x: Tensor, b: float, coefficients: Sequence[float], center: bool, T: Tensor, y: Tensor
) -> None:
    """Fills ``T`` and ``y``, as the other forward passes do."""
    options = {"STEPS": len(coefficients) // 3, "NEWTON_STEPS": newton_steps(0.5)}
    _launch(root_from_positions, (x, T, y), (*_sizes(x), b, tuple(coefficients)), center, options)


def launch_root_gradient(
    x: Tensor, P: Tensor, T: Tensor, b: float, center: bool, lower: float, doublings: int, X: Tensor
) -> None:
    """Fills ``X``."""
    p = lower**0.5
    options = {"NEWTON_STEPS": newton_steps(p / (1 + p)), "DOUBLINGS": doublings}
    options["MATRICES"] = root_gradient_triton.MATRICES
    tensors = x, P, T, _scratch(x, root_gradient_triton.MATRICES), X
    _launch(root_gradient_triton.gradient_of_root, tensors, (*_sizes(x), b, p), center, options)


def launch_newton_schulz(
    x: Tensor, b: float, steps: int, center: bool, T: Tensor, y: Tensor
) -> None:
    """Fills ``T`` and ``y``."""
    matrices = PASSING + 3 * (steps + 1)
    options = {"STEPS": steps, "MATRICES": matrices}
    tensors = x, _scratch(x, matrices), T, y
    _launch(newton_schulz_from_positions, tensors, (*_sizes(x), b), center, options)


def launch_newton_schulz_gradient(
    x: Tensor,
    P: Tensor,
    grad: Tensor,
    T: Tensor,
    b: float,
    steps: int,
    center: bool,
    triangle: bool,
    R: Tensor,
) -> None:
    """Fills ``R``."""
    matrices = PASSING + 3 * (steps + 1)
    tensors = x, P, grad, T, _scratch(x, matrices), R
    numbers = (*strides_of_gradient(grad), *_sizes(x), b)
    options = {"STEPS": steps, "MATRICES": matrices, "TRIANGLE": triangle}
    _launch(gradient_of_newton_schulz, tensors, numbers, center, options)


def launch_pade(
    x: Tensor, b: float, poles: Sequence[float], center: bool, T: Tensor, y: Tensor
) -> None:
    """Fills ``T`` and ``y``."""
    triples = tuple(number for kappa in poles for number in (kappa, 1 - kappa, 0.0))
    low = 1 - max(poles)
    options = {"DEGREE": len(poles), "NEWTON_STEPS": newton_steps(low)}
    _launch(pade_from_positions, (x, T, y), (*_sizes(x), b, triples), center, options)


def launch_taylor(
    x: Tensor, b: float, coefficients: Sequence[float], center: bool, T: Tensor, y: Tensor
) -> None:
    """Fills ``T`` and ``y``."""
    triples = tuple(number for c in reversed(coefficients) for number in (c, 0.0, 0.0))
    options = {"TERMS": len(coefficients)}
    _launch(taylor_from_positions, (x, T, y), (*_sizes(x), b, triples), center, options)


def launch_sign(
    x: Tensor,
    P: Tensor,
    T: Tensor,
    y: Tensor,
    b: float,
    center: bool,
    iterations: int,
    L: Tensor,
    R: Tensor,
) -> None:
    """Fills ``L`` and ``R``."""
    tensors = x, P, T, y, _scratch(x, sign_triton.MATRICES), L, R
    options = {"ITERATIONS": iterations, "MATRICES": sign_triton.MATRICES}
    _launch(sign_triton.sign_from_positions, tensors, (*_sizes(x), b), center, options)


def newton_steps(low: float) -> int:
    """Scaled Newton steps to the inverse of a matrix with spectrum in ``[low, 1]``."""
    residual = 1 / (2 * ((1 + low) / (1 - low)) ** 2 - 1)
    steps = 0
    while residual > torch.finfo(torch.float32).eps / 2:
        residual = residual**2 / (2 - residual**2)
        steps += 1
    return steps


def _scratch(x: Tensor, matrices: int) -> Tensor:
    size = padded(x.shape[-1])
    return x.new_empty(x.shape[0], matrices, size, size)


def _sizes(x: Tensor) -> tuple[int, ...]:
    return (*x.stride(), *x.shape[1:])


def _launch(
    kernel: Any,
    tensors: tuple[Tensor, ...],
    numbers: tuple[Any, ...],
    center: bool,
    options: dict[str, int],
) -> None:
    N, _, M = tensors[0].shape
    size = padded(M)
    sides = {"CENTER": center, "SIZE": size, "ROWS": BLOCK, "PRECISION": PRECISION}
    launch(kernel, (N,), tensors, numbers, **sides, **options, num_warps=size // 16, num_stages=1)
