"""Batches of no sample or no position: an empty output, and the state stays."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from tests.built import BATCH_NORMS, MODULES, NORMS, sample, trained
from tests.counted import Counted
from tests.refusals.refusal import same_state, state


@pytest.mark.promise("bad inputs", "empty batch: an empty result and an empty gradient")
@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, counted: Counted) -> None:
    module, x = trained(name), sample(name)
    full = module(x)
    for empty in empties(name, x):
        kept = empty.shape if full.shape == x.shape else (0, *full.shape[1:])
        for training in (True, False):
            held = state(module.train(training))
            with counted(tuple(empty.shape), empty.stride(), f"training={training}"):
                gives(module, empty, kept)
                if name in BATCH_NORMS:
                    now = state(module)
                    assert same_state(held, {key: now[key] for key in held})


def gives(module: nn.Module, x: Tensor, shape: tuple[int, ...]) -> None:
    """An output of this shape, and a gradient for the input."""
    x = x.detach().requires_grad_()
    y = module(x)
    y.sum().backward()
    assert y.shape == shape
    assert x.grad is not None
    assert x.grad.shape == x.shape


def empties(name: str, x: Tensor) -> Iterator[Tensor]:
    """The empty inputs of a module."""
    yield x[:0]
    if name in NORMS:
        yield x[:0, :, 0]
        yield torch.empty(0, 6, 2, 2)
        yield x[:0].contiguous(memory_format=torch.channels_last)
    takes_one_position = name in NORMS and name != "SwitchableWhitening"
    if takes_one_position:
        yield torch.empty(0, 6, 2, 1)
        yield x[:0, :, 0, 0]
        yield x[..., :0].contiguous(memory_format=torch.channels_last)
    if takes_one_position or name.startswith("Temporal"):
        yield x[..., :0]
