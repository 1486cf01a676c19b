"""A link in place of an output changes no derivative, of any cell; a small matrix has none."""

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from covlayers.functional._base import tuning
from tests.properties import FUNCTIONS, relative_error, spd

TOLERANCES = {torch.float64: 1e-12, torch.float32: 1e-4}  # seen: 6e-15 and 3e-6


def derivatives(name: str, method: str, backward: str, A: Tensor) -> list[Tensor] | None:
    """The first, and the second if there is one; None for a cell that is none."""
    A = A.clone().requires_grad_()
    try:
        loss = (FUNCTIONS[name](A, method=method, backward=backward) ** 3).sum()
        (first,) = torch.autograd.grad(loss, A, create_graph=True)
    except F.UnsupportedError:
        return None
    try:
        return [first.detach(), torch.autograd.grad(first.square().sum(), A)[0]]
    except F.UnsupportedError:
        return [first.detach()]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("backward", BACKWARDS)
def test_derivatives_are_as_without(
    backward: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    A = spd(2, n=8, condition=10.0).to(dtype)
    for name in FUNCTIONS:
        for method in METHODS:
            monkeypatch.setattr(tuning, "LINKED", 9)
            expected = derivatives(name, method, backward, A)
            monkeypatch.setattr(tuning, "LINKED", 8)
            actual = derivatives(name, method, backward, A)
            assert (actual is None) == (expected is None)
            for one, other in zip(actual or (), expected or (), strict=True):
                assert relative_error(one, other) < TOLERANCES[dtype], (name, method)
