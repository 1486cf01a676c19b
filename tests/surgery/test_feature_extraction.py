"""Features of converted and replaced models, by the tracer of torchvision."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torchvision.models import ResNet, mobilenet_v3_small
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.resnet import BasicBlock

from covlayers import CovPool, DecorrelatedBatchNorm, convert_batchnorm, replace_head
from covlayers.functional import InvalidTypeError


def small() -> nn.Module:
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=7)


MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "converted": (lambda: convert_batchnorm(small(), group_size=16), "layer4"),
    "replaced": (lambda: replace_head(small(), CovPool, 5, reduced_channels=4), "avgpool"),
    "cut": (
        lambda: replace_head(mobilenet_v3_small(), CovPool, 5, features="features.4"),
        "backbone.features.4",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_layer_named_as_a_leaf(name: str) -> None:
    build, node = MODELS[name]
    model = build().eval()
    leaves = [DecorrelatedBatchNorm, CovPool]
    extractor = create_feature_extractor(model, [node], tracer_kwargs={"leaf_modules": leaves})
    kept: list[torch.Tensor] = []
    model.get_submodule(node).register_forward_hook(lambda module, args, y: kept.append(y))
    x = torch.randn(2, 3, 64, 64)
    model(x)
    assert_close(extractor(x)[node], kept[0])


@pytest.mark.parametrize("name", MODELS)
def test_the_error_says_to_name_it(name: str) -> None:
    build, node = MODELS[name]
    words = re.escape("x must be a torch.Tensor, got a Proxy of torch.fx")
    with pytest.raises(InvalidTypeError, match=f"{words}.*'leaf_modules'"):
        create_feature_extractor(build(), [node])
