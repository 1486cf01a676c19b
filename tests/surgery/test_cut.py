"""Heads behind the last maps of a model, found or named: what is pooled, kept and refused."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.nn import functional
from torch.testing import assert_close

from covlayers import CovPool, convert_batchnorm, fold, replace_head
from covlayers.functional import InvalidTypeError, InvalidValueError, UnsupportedError


class Network(nn.Module):
    """Maps, a ReLU and a mean that are no modules, a classifier, as in DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        layers = nn.Sequential(nn.Conv2d(6, 8, 3), nn.BatchNorm2d(8))
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), layers)
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(8, 7))

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        maps = functional.relu(self.features(x))
        maps = maps if scale is None else maps * scale
        return self.classifier(functional.adaptive_avg_pool2d(maps, 1).flatten(1))


class Sum(Network):
    """Maps of two scales."""

    def forward(self, x: Tensor) -> Tensor:
        first = self.features[0](x)
        last = self.features[2](first)
        return self.classifier(last.mean((2, 3)) + first.mean((2, 3)).sum())


class Deep(Network):
    """Maps that layers of another kind go on with."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.more(self.features(x).flatten(2).mT)
        return self.classifier(tokens.mean(1))


class Branching(Network):
    """Asks its input for more than a shape."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.dim() == 4 else x[None])


class Masked(Network):
    """Drops by a function, which a trace takes as in evaluation."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.dropout(x, 0.5, self.training))


class Twice(Network):
    """Takes its layers in turn, twice."""

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(self.features(x)[:, :3]).mean((2, 3)))


def images(n: int = 2, size: int = 9) -> Tensor:
    return torch.randn(n, 3, size, size)


def test_what_the_classifier_averages_is_pooled() -> None:
    model, x = Network().eval(), images()
    maps = functional.relu(model.features(x))
    conv = model.features[0]
    replaced = replace_head(model, CovPool, 5)
    assert replaced.backbone.features[0] is conv
    assert not hasattr(replaced.backbone, "classifier")
    assert not any(part.training for part in replaced.modules())
    pool, dropout, linear = replaced.head
    assert dropout.p == 0.3
    assert_close(replaced(x), linear(pool(maps)))


@pytest.mark.parametrize("build", [Network, Deep])
@pytest.mark.parametrize(
    ("name", "kernels"),
    [("features", 2), ("features.2", 2), ("features.2.0", 2), ("features.0", 1)],
)
def test_a_named_module_is_pooled(build: type[Network], name: str, kernels: int) -> None:
    model, x = build().eval(), images()
    kept: list[Tensor] = []
    hook = model.get_submodule(name).register_forward_hook(
        lambda module, args, y: kept.append(y.clone())  # a ReLU behind it writes into it
    )
    model(x)
    hook.remove()
    model = replace_head(model, CovPool, 5, features=name)
    pool, linear = model.head
    assert_close(model(x), linear(pool(kept[0])))
    layers = [part for part in model.backbone.modules() if isinstance(part, nn.Conv2d)]
    assert len(layers) == kernels


@pytest.mark.parametrize("features", [None, "features.2"])
def test_copies_folds_compiles_and_exports(
    features: str | None, whole_graph: Callable[..., Any]
) -> None:
    model = replace_head(Network(), CovPool, 5, features=features, reduced_channels=4)
    model(images())
    x, model = images(), model.eval()
    y = model(x)
    assert_close(copy.deepcopy(model)(x), y)
    assert_close(pickle.loads(pickle.dumps(model))(x), y)
    exported = torch.export.export(copy.deepcopy(model), (x,))
    assert_close(exported.module()(x), y)
    folded = fold(convert_batchnorm(copy.deepcopy(model), group_size="auto"))
    assert_close(folded(x), y, rtol=1e-4, atol=1e-4)
    assert_close(whole_graph(model)(x), y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "size", "channels"),
    [(tv.vgg11, 224, 512), (tv.alexnet, 224, 256), (tv.maxvit_t, 224, 512)],
)
def test_large_models_of_torchvision(
    build: Callable[[], nn.Module], size: int, channels: int
) -> None:
    with torch.device("meta"):
        model, x = build(), torch.empty(2, 3, size, size)
    model = replace_head(model, CovPool, 5)
    assert model.head[-1].in_features == channels * (channels + 1) // 2
    assert model(x).shape == (2, 5)


def test_an_example_says_what_the_model_takes() -> None:
    def build() -> nn.Module:
        lines = nn.Sequential(nn.Linear(5, 4), nn.Unflatten(1, (2, 2)), nn.Conv1d(2, 3, 1))
        return nn.Sequential(lines, nn.Flatten(), nn.Linear(6, 7))

    with pytest.raises(UnsupportedError, match=r"run on a guessed input.*pass an example"):
        replace_head(build(), CovPool, 5, features="0")
    model = replace_head(build(), CovPool, 5, features="0", example=torch.zeros(1, 5))
    assert model(torch.randn(4, 5)).shape == (4, 5)
    with pytest.raises(InvalidValueError, match=r"example must be .* got shape \(1, 6\)"):
        replace_head(build(), CovPool, 5, features="0", example=torch.zeros(1, 6))


@pytest.mark.parametrize(
    ("build", "features", "error", "words"),
    [
        (Sum, None, UnsupportedError, "model must have a classifier that reads .* Sum"),
        (Deep, None, UnsupportedError, "model must have a classifier that reads .* Deep"),
        (Masked, None, UnsupportedError, "depends on the mode, got Masked, which calls dropout"),
        (Masked, "features", UnsupportedError, "depends on the mode, got Masked"),
        (Network, "classifier", UnsupportedError, r"gives \[\(2, 7\)\]"),
        (Twice, "features", UnsupportedError, r"gives \[\(2, 8, 220, 220\), \(2, 8, "),
        (Sum, "features", UnsupportedError, "which gives nothing"),
        (
            tv.segmentation.lraspp_mobilenet_v3_large,
            None,
            UnsupportedError,
            "classify maps .* LRASPP",
        ),
        (Network, "layer4", InvalidValueError, "features must be the name of a module .*'layer4'"),
        (Network, "", InvalidValueError, "features must be the name of a module"),
        (Network, 4, InvalidTypeError, "features must be the name of a module or None, got 4"),
    ],
)
def test_refused(build: Any, features: Any, error: type[Exception], words: str) -> None:
    options = {"weights_backbone": None} if build.__module__.startswith("torchvision") else {}
    model = build(**options)
    before, modules = repr(model), list(model.modules())
    with pytest.raises(error, match=words):
        replace_head(model, CovPool, 5, features=features)
    assert repr(model) == before
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))


def test_torch_fx_says_where_it_cannot_follow() -> None:
    for features in (None, "features"):
        with pytest.raises(
            UnsupportedError, match=r"torch\.fx can follow.* got Branching.*by hand"
        ):
            replace_head(Branching(), CovPool, 5, features=features)
