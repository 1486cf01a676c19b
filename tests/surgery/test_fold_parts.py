"""Folding of models that torch.fx follows in part: what it can, with the values of before."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm
from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.surgery import convert_batchnorm, fold
from covlayers.surgery.folding import PointwiseAffine
from tests.surgery import taken_apart as apart
from tests.surgery.partly_traced import (
    IMAGE,
    Block,
    Detector,
    OwnCode,
    Twice,
    Whole,
    WholeInAList,
    WholeSequential,
)
from tests.surgery.test_fold import Norm, conv, left, trained

CLOSED = "torch.fx cannot follow"
# name: model, how many layers it has, how many of them are merged
CASES: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "calls a part as a whole": (Whole, 1, 1),
    "calls it twice": (Twice, 1, 1),
    "calls a list of them": (WholeInAList, 2, 2),
    "calls a sequence of layers": (WholeSequential, 1, 1),
    "between others": (lambda: nn.Sequential(Block(), Whole(), Block()), 3, 3),
    "in one another": (lambda: Whole(nn.Sequential(Whole(), Block())), 2, 2),
    "own code": (OwnCode, 2, 1),
    "next to a convolution": (lambda: nn.Sequential(conv(8, 8, 1), Whole(), Norm(8)), 2, 1),
    "after a convolution": (lambda: nn.Sequential(Whole(), conv(8, 8, 1), Norm(8)), 2, 2),
    "apart": (apart.Apart, 1, 0),
    "by a method": (apart.ApartByMethod, 1, 0),
    "by a base": (apart.ApartByBase, 1, 0),
    "by a property": (apart.ApartByProperty, 1, 0),
    "by a method of the part": (apart.ApartByItsMethod, 1, 0),
    "by getattr": (apart.ApartByGetattr, 1, 0),
    "by children": (apart.ApartByChildren, 1, 0),
    "by modules": (apart.ApartByModules, 1, 0),
    "by index": (apart.ApartByIndex, 1, 0),
    "by index of a class": (apart.ApartByIndexOfAClass, 1, 0),
    "by a function": (apart.ApartByFunction, 1, 0),
    "by a function that it holds": (apart.held_function, 1, 0),
    "given to another": (apart.Given, 1, 0),
    "in a list": (apart.ApartInAList, 2, 0),
    "by a container": (lambda: apart.ByContainer({"a": Block()}), 1, 0),
    "shared with closed code": (apart.shared_with_closed, 1, 0),
    "reached from outside": (apart.reached_from_outside, 1, 0),
    "followed once of twice": (apart.followed_once, 1, 0),
}


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_is_the_same_function(name: str, nested: bool) -> None:
    build, layers, merged = CASES[name]
    model = trained(nn.Sequential(nn.Identity(), build()) if nested else build(), IMAGE)
    assert len(left(model, CovarianceNorm)) == layers
    state = copy.deepcopy(model.state_dict())
    folded = fold(model)
    assert_close(model.state_dict(), state)
    for batch in (3, 1):
        x = torch.randn(batch, *IMAGE[1:])
        assert_close(folded(x), model.eval()(x), rtol=1e-4, atol=1e-4)
    assert not left(folded, CovarianceNorm)
    assert len(left(folded, PointwiseAffine)) == layers - merged
    assert fold(folded)(x).equal(folded(x))


def test_a_detector() -> None:
    model = Detector()
    trained(model.backbone, IMAGE)
    trained(model.heads["scores"], IMAGE)
    folded, images = fold(model), [torch.randn(8, 7, 9), torch.randn(8, 6, 5)]
    assert_close(folded(images), model.eval()(images), rtol=1e-4, atol=1e-4)
    assert not left(folded, PointwiseAffine)


def test_hooks_see_what_they_saw() -> None:
    model, seen = trained(nn.Sequential(Whole(), Block()), IMAGE).eval(), []
    for name in ("0", "0.block", "0.block.conv"):
        model.get_submodule(name).register_forward_hook(lambda m, args, y: seen.append(y))
    folded, x = fold(model), torch.randn(IMAGE)
    seen.clear()  # of what a trace gave them
    assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)
    assert_close(seen[:3], seen[3:], rtol=1e-4, atol=1e-4)
    assert len(left(folded, PointwiseAffine)) == 1  # its convolution is watched


@pytest.mark.parametrize(
    ("build", "reasons"),
    [
        (OwnCode, {"norm": CLOSED}),
        (lambda: nn.Sequential(Block(), OwnCode()), {"1.norm": f"{CLOSED} '1'"}),
        (apart.Apart, {"block.norm": "may use the layer apart"}),
        (lambda: nn.Sequential(nn.ReLU(), Norm(8)), {"1": "no convolution"}),
        (apart.shared_with_closed, {"0.norm": "share it"}),
        (Whole, {}),
    ],
)
def test_says_why_a_layer_is_left(build: Callable[[], nn.Module], reasons: dict[str, str]) -> None:
    folded = fold(build())
    alone = {n: m for n, m in folded.named_modules() if isinstance(m, PointwiseAffine)}
    assert set(alone) == set(reasons)
    for name, reason in reasons.items():
        assert reason in alone[name].reason
        assert reason in repr(folded)


@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn"])
def test_detectors_of_torchvision(name: str) -> None:
    detection = pytest.importorskip("torchvision.models.detection")
    torch.manual_seed(0)
    build = getattr(detection, name)
    model = build(weights=None, weights_backbone=None, min_size=64, max_size=64)
    model = convert_batchnorm(model, group_size=16)
    assert len(left(model, DecorrelatedBatchNorm)) == 53
    model.backbone(torch.randn(8, 3, 64, 64))
    folded = fold(model)
    assert not left(folded, (CovarianceNorm, PointwiseAffine))
    x = torch.rand(1, 3, 64, 64)
    expected = model.eval().backbone(x)
    for level, features in folded.backbone(x).items():
        assert_close(features, expected[level], rtol=1e-3, atol=1e-3)
    assert {"boxes", "labels", "scores"} <= folded(list(x))[0].keys()


# name: how many of its layers stay
TIMM = {"mobilevit_xxs": 7, "efficientvit_b0": 5}


@pytest.mark.filterwarnings("ignore")  # of few positions
@pytest.mark.parametrize("name", TIMM)
def test_models_of_timm(name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = convert_batchnorm(timm.create_model(name), group_size="auto", eps=1e-3)
    model(torch.randn(4, 3, 64, 64))
    folded, x = fold(model), torch.randn(2, 3, 64, 64)
    y = model.eval()(x)
    assert (folded(x) - y).abs().max() < 1e-3 * y.abs().max()
    assert len(left(folded, PointwiseAffine)) == TIMM[name]
