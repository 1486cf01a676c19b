"""A ResNet-18 whose every BatchNorm whitens, folded for deployment."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.surgery import convert_batchnorm, fold

models = pytest.importorskip("torchvision.models")  # has the ResNet

Folded = tuple[nn.Module, nn.Module, torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module", params=[16, None], ids=["groups of 16", "one group"])
def folded(request: pytest.FixtureRequest) -> Folded:
    """A model that has been trained a little, its folded copy, images and their logits."""
    torch.manual_seed(0)
    model = convert_batchnorm(models.resnet18(num_classes=10), group_size=request.param)
    for norm in filter(lambda m: isinstance(m, CovarianceNorm), model.modules()):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one group has more channels than positions
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.randn(16, 3, 64, 64)).square().mean().backward()
            optimizer.step()
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        return model, fold(model), x, model.eval()(x)


def test_logits(folded: Folded) -> None:
    _, small, x, logits = folded
    assert_close(small(x), logits, rtol=1e-4, atol=1e-4)


def test_identities_alone_are_left(folded: Folded) -> None:
    model, small, _, _ = folded
    assert type(small) is type(model)
    for name, module in model.named_modules():
        expected = nn.Identity if isinstance(module, CovarianceNorm) else type(module)
        assert type(small.get_submodule(name)) is expected
    plain = sum(p.numel() for p in models.resnet18(num_classes=10).parameters())
    assert sum(p.numel() for p in small.parameters()) < plain


def test_exports(folded: Folded) -> None:
    _, small, x, logits = folded
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(small, (x,), dynamic_shapes=({0: batch},))
    assert_close(program.module()(x), logits, rtol=1e-4, atol=1e-4)
    assert program.module()(x[:3]).shape == (3, 10)


def pointwise() -> nn.Module:
    model = convert_batchnorm(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 5, 3, padding=1)))
    for _ in range(3):
        model(torch.randn(4, 3, 64, 64) * 2 + 1)
    return fold(model)


@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=pytest.mark.full), "pointwise"])
def test_onnx(folded: Folded, name: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)  # torch.onnx.export needs it
    onnxruntime = pytest.importorskip("onnxruntime")  # runs the file
    model, x = folded[1] if name == "resnet18" else pointwise(), folded[2]
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (x,), path, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert_close(torch.from_numpy(y), model(x).detach(), rtol=1e-4, atol=1e-4)
