"""Everything that modules refuse, and how: the error names the argument, and the state stays."""

from functools import partial
from itertools import chain

import pytest
import torch
from torch import nn

import covlayers as cl
from tests.built import features
from tests.counted import Counted
from tests.refusals import layers, models, styles
from tests.refusals.refusal import count, naming, raised, same_state, state
from tests.refusals.wrong_values import WRONG, misshapen, wrong_tensors

AREA = "bad inputs"
WITHOUT_OPTIONS = "ColoringOrthogonalityLoss"
OF_TORCH = ("num_features", "eps", "momentum", "affine", "track_running_stats", "device", "dtype")


def test_every_public_name_has_a_row() -> None:
    public = {name for name in cl.__all__ if callable(getattr(cl, name))}
    assert public == {*layers.BUILT, *models.OPERATIONS, WITHOUT_OPTIONS}


@pytest.mark.promise(AREA, "wrong option of a module")
def test_options(counted: Counted) -> None:
    count(layers.of_options(), counted)
    shared = (
        (name, partial(nn.BatchNorm2d, **{"num_features": 6, name: value}))
        for name in OF_TORCH
        for value in WRONG[name]
        if value is not None or name not in ("momentum", "device", "dtype")
    )
    counted.beside = naming("nn.BatchNorm2d", shared)


@pytest.mark.promise(AREA, "wrong input of a module in training, whose state has to stay")
def test_inputs(counted: Counted) -> None:
    kinds = (layers.of_inputs(), styles.of_styles(), styles.of_data(), styles.of_losses())
    count(chain(*kinds), counted)
    counted.beside = beside()


def beside() -> str:
    """The inputs that a layer in its place refuses, and how often one changes nn.BatchNorm2d."""
    x, norm = features(), nn.BatchNorm2d(6)
    others = misshapen(x[:, :0], x[:, :4], torch.cat([x, x[:, :1]], 1), x[:1, :, :1, :1])
    calls = [("input", partial(norm, value)) for _, value, _ in (*wrong_tensors(x, 2), *others)]
    changed = 0
    for _, call in calls:
        before = state(norm)
        raised(call)
        changed += not same_state(before, state(norm))
    return f"{naming('nn.BatchNorm2d', calls)}, {changed} change its state"


@pytest.mark.promise(AREA, "wrong mask or weight of style transfer")
def test_masks_and_weights(counted: Counted) -> None:
    count(styles.of_regions(), counted)
