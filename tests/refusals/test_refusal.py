"""What judges the refusals sees each thing that may be wrong with one."""

import pytest
from torch import nn

from covlayers import functional as F
from tests.refusals.refusal import Refusal


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
