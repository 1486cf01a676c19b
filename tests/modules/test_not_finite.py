"""Batches with a damaged sample: it is lost alone, and running averages stay."""

import pytest
import torch
from torch import nn

import covlayers as cl
from tests.built import BATCH_NORMS, MODULES, sample
from tests.counted import Counted
from tests.functional.test_not_finite import DAMAGES, damaged
from tests.refusals.layers import in_training
from tests.refusals.refusal import identical, same_state, state


@pytest.mark.promise(
    "bad inputs", "NaN or infinity in evaluation of a module: lost for the sample alone"
)
@pytest.mark.parametrize("name", MODULES)
def test_in_evaluation(name: str, counted: Counted) -> None:
    """An infinity, unlike NaN, may end at the zero of a ReLU."""
    module, x = in_training(name).eval(), sample(name, 6)
    held, y = state(module), module(x)
    relu = any(isinstance(part, nn.ReLU | cl.TemporalConv) for part in module.modules())
    for value in DAMAGES:
        z = module(damaged(x, value))
        rest = [i for i in range(len(y)) if i != 1]
        with counted(name, value):
            assert identical(y[rest], z[rest])
            assert same_state(held, state(module))
            if not (relu and value in (torch.inf, -torch.inf)):
                assert not z[1].isfinite().all()


@pytest.mark.promise(
    "bad inputs", "NaN or infinity in training of a layer: its running averages stay"
)
@pytest.mark.parametrize("name", BATCH_NORMS)
def test_in_training(name: str, counted: Counted) -> None:
    counted.cases({str(value): all(held) for value, held in damage(BATCH_NORMS[name]()).items()})
    torchs = damage(nn.BatchNorm2d(6)).values()
    counted.beside = f"nn.BatchNorm2d: {sum(stays for stays, _ in torchs)} of {len(torchs)}"


def damage(module: nn.Module) -> dict[float, tuple[bool, bool]]:
    """Whether its state stays, and its output tells."""
    x = sample("IterNorm")
    module.train()(x)
    held = state(module)
    found = {}
    for value in DAMAGES:
        y = module(damaged(x, value))
        found[value] = same_state(held, state(module)), not bool(y.isfinite().all())
    return found


def test_averages_that_take_what_is_not_finite_are_seen() -> None:
    assert not any(stays for stays, _ in damage(nn.BatchNorm2d(6)).values())
