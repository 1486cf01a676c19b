"""What judges the refusals sees each thing that may be wrong with one."""

import pytest
import torch
from torch import nn

from covlayers import functional as F
from tests.properties import spd
from tests.reliability.bad_inputs.not_finite import (
    neighbours_stay,
    value_and_gradient,
    with_averages,
)
from tests.reliability.bad_inputs.refusals import Refusal


def layer(error: Exception | None, *, before: bool = False) -> nn.Module:
    """A layer that counts its calls before or after it raises."""
    module = nn.BatchNorm2d(3)

    def forward(x: object) -> object:
        if before:
            module.num_batches_tracked.add_(1)
        if error is not None:
            raise error
        return x

    module.forward = forward
    return module


HELPFUL = F.InvalidTypeError("x must be a torch.Tensor, got list; torch.as_tensor makes one.")
WRONG: dict[str, tuple[nn.Module, str]] = {
    "nothing raised": (layer(None), "raises nothing"),
    "a plain error": (layer(ValueError(str(HELPFUL))), "raises ValueError"),
    "a counter moved": (layer(HELPFUL, before=True), "leaves another state"),
    "another name": (layer(F.InvalidTypeError("y must be a tensor, got list.")), "the argument, x"),
    "a name within a word": (
        layer(F.InvalidTypeError("axes must be a list, got list.")),
        "the argument, x",
    ),
    "another type": (layer(F.InvalidTypeError("x must be a torch.Tensor, got int.")), "what came"),
    "what came before got": (layer(F.InvalidTypeError("x is a list, got it.")), "what came"),
    "no way out": (layer(F.InvalidTypeError("x is wrong, got list.")), "what to do"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_poor_refusal_is_seen(case: str) -> None:
    module, problem = WRONG[case]
    judged, _ = Refusal(case, lambda: module([1.0]), "x", ("list",), module).judged()
    assert problem in judged


def test_a_good_refusal_is_none() -> None:
    module = layer(HELPFUL)
    assert Refusal("good", lambda: module([1.0]), "x", ("list",), module).judged() == ("", True)


def test_a_map_that_mixes_matrices_is_seen() -> None:
    A = spd(3)
    damaged = A.clone()
    damaged[1, 0, 0] = torch.nan
    mixing = lambda A: A - A.nan_to_num().mean(0)
    assert not neighbours_stay(value_and_gradient(mixing, A), value_and_gradient(mixing, damaged))
    alone = lambda A: A @ A
    assert neighbours_stay(value_and_gradient(alone, A), value_and_gradient(alone, damaged))


def test_averages_that_take_what_is_not_finite_are_seen() -> None:
    assert not any(held for _, held in with_averages({"torch": lambda: nn.BatchNorm2d(6)}))
