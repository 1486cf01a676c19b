"""Batches of no matrix, or of matrices of no row."""

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from tests.counted import Counted
from tests.good_calls import GOOD, tensors_of

OF_MATRICES = ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm", "logm", "powm", "eigh", "shrink")


@pytest.mark.promise("bad inputs", "empty batch: an empty result and an empty gradient")
@pytest.mark.parametrize("function", GOOD)
def test_functions(function: str, counted: Counted) -> None:
    """A result of the right shape, and a gradient."""
    given, tensors = GOOD[function], tensors_of(function)
    full = outputs(function, given)
    inputs = {name: x[:0].clone().requires_grad_() for name, x in tensors.items()}
    counted.case("no matrix", held=empty_like(function, given | inputs, full))
    if function in OF_MATRICES:
        inputs = {"A" if "A" in tensors else "cov": torch.empty(2, 0, 0, requires_grad=True)}
        full = tuple(x.new_empty(x.shape[:1] + (0,) * (x.dim() - 1)) for x in full)
        counted.case("no row", held=empty_like(function, given | inputs, full, matrices=2))


def outputs(function: str, given: dict[str, object]) -> tuple[Tensor, ...]:
    """What a function returns, as a tuple."""
    y = getattr(F, function)(**given)
    return y if isinstance(y, tuple) else (y,)


def empty_like(
    function: str, given: dict[str, object], full: tuple[Tensor, ...], matrices: int = 0
) -> bool:
    """Whether outputs have these shapes except the batch, and a gradient reaches the inputs."""
    got = outputs(function, given)
    sum(y.sum() for y in got).backward()
    shapes = [(matrices, *y.shape[1:]) for y in full]
    inputs = [x for x in given.values() if isinstance(x, Tensor)]
    reached = all(x.grad is not None and x.grad.shape == x.shape for x in inputs)
    return reached and [tuple(y.shape) for y in got] == shapes
