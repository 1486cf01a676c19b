"""What every module takes by keyword: the options of its family, and no others."""

import copy
import math
import pickle
import re
from itertools import product

import pytest

import covlayers as cl
from covlayers.functional import InvalidTypeError, InvalidValueError
from tests.refusals.layers import BUILT
from tests.signatures import parameters

# What the base class takes, or a layer beside it.
OF_OTHERS = {
    "IterNorm": "kind shrinkage method backward",
    "PCANorm": "num_groups kind shrinkage",
    "SwitchableWhitening": "kind shrinkage",
    "GroupWhitening": "momentum sync shrinkage",
    "ZCAWhitening": "kind n_components",
    "PCAWhitening": "kind backward",
    "CholeskyWhitening": "kind method n_components",
    "MPNCovPool": "method backward iterations",
    "ISQRTCovPool": "method backward degree",
    "TCPCovPool": "published pool",
    "GroupWhiteningColoring": "sync",
    "WhiteningColoring": "device dtype",
    "AdaIN": "num_groups shrinkage device",
}

# Numbers that count from the next call on when they are set on a layer, and their ranges.
RANGES = {
    **{"eps": "[0, inf]", "mean_weight": "(0, inf]"},
    **dict.fromkeys(("momentum", "shrinkage", "alpha"), "[0, 1]"),
}
SET = [
    (name, option)
    for name, option in product(BUILT, RANGES)
    if option in vars(getattr(cl, name)(**BUILT[name]))
]


@pytest.mark.parametrize(("name", "option"), SET)
def test_a_number_is_checked_whenever_it_is_set(name: str, option: str) -> None:
    layer = getattr(cl, name)(**BUILT[name])
    before, span = getattr(layer, option), RANGES[option]
    low, high = map(float, span[1:-1].split(","))
    for value in (low - 0.1, high + 0.7, math.nan, *([low] if span[0] == "(" else [])):
        words = re.escape(f"{option} must lie in {span}, got {value}")
        with pytest.raises(InvalidValueError, match=words):
            setattr(layer, option, value)
    with pytest.raises(InvalidTypeError, match=f"{option} must be a real number, got 'much'"):
        setattr(layer, option, "much")
    assert getattr(layer, option) == before
    for value in (*([low] if span[0] == "[" else []), min(high, 1.0), 0.25):
        setattr(layer, option, value)
        assert getattr(layer, option) == value
    for same in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert getattr(same, option) == 0.25
        assert f"{option}=0.25" in repr(same)


@pytest.mark.parametrize("name", BUILT)
def test_every_option_may_be_given(name: str) -> None:
    """An option given at its default changes nothing."""
    made = getattr(cl, name)
    defaults = {
        option: p.default
        for option, p in parameters(made).items()
        if p.default is not p.empty and p.kind is not p.VAR_KEYWORD
    }
    assert repr(made(**defaults | BUILT[name])) == repr(made(**BUILT[name]))


@pytest.mark.parametrize("name", BUILT)
def test_another_option_is_named(name: str) -> None:
    for option in ("bogus", *OF_OTHERS.get(name, "").split()):
        with pytest.raises(TypeError, match=f"'{option}'"):
            getattr(cl, name)(**BUILT[name], **{option: 1})


@pytest.mark.parametrize(
    "name", ["DecorrelatedBatchNorm", "IterNorm", "SwitchableWhitening", "GroupWhitening"]
)
def test_groups_are_given_by_number_or_by_size(name: str) -> None:
    layer = getattr(cl, name)
    assert repr(layer(12, group_size=4)) == repr(layer(12, num_groups=3)) == repr(layer(12, 3))


def test_default_in_words() -> None:
    (said,) = re.findall(r"eps: .*, (\S+) by default", cl.ZCAWhitening.__doc__)
    assert float(said) == cl.ZCAWhitening().eps
