"""Folding: the same function, without a layer of ours."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import fx, nn
from torch.testing import assert_close

from covlayers.functional import UnsupportedError
from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.norms.covariance_norm import CovarianceNorm
from covlayers.modules.norms.pca_norm import PCANorm
from covlayers.surgery import ConditioningMonitor, convert_batchnorm, fold
from covlayers.surgery.folding import PointwiseAffine
from covlayers.surgery.traces import Tracer

Norm = DecorrelatedBatchNorm


class Residual(nn.Module):
    """A pre-activation block."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.conv1 = Norm(8, 2), nn.Conv2d(8, 8, 3, padding=1)
        self.norm2, self.conv2 = Norm(8, 4), nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(self.norm1(x).relu())
        return x + self.conv2(self.norm2(y))


class Forward(nn.Module):
    """Some modules and any forward pass of them."""

    def __init__(self, forward: Callable, **modules: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


class Optional(nn.Module):
    """Without a target it returns what the linear layer would read."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.fc = Norm(8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, target: torch.Tensor | None = None) -> torch.Tensor:
        features = self.norm(x)
        scores = self.fc(features)
        return features if target is None else scores


def tied() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(8, 8, 1), Norm(8), nn.Conv2d(8, 8, 1))
    model[2].weight = model[0].weight
    return model


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Conv2d(8, 8, 1), Norm(8))
    nn.utils.parametrizations.weight_norm(model[0])
    return model


def twice(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    y = m.conv(x)
    return m.norm(y) + y


def written(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    x = x * 1
    y = m.norm(x)
    return x.relu_() + m.conv(y)


def own_parameter(m: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return m.norm(m.conv(x)) * m.conv.bias[:, None, None]


image, flat = (4, 8, 6, 5), (16, 8)
conv = nn.Conv2d
# name: model, shape of the input, how many layers stay as 1x1 convolutions
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "after a convolution": (lambda: nn.Sequential(conv(8, 8, 3), Norm(8)), image, 0),
    "groups": (lambda: nn.Sequential(conv(8, 12, 3, 2, 1, 2, bias=False), Norm(12, 3)), image, 0),
    "1d": (lambda: nn.Sequential(nn.Conv1d(8, 4, 3, padding="same"), Norm(4)), (4, 8, 9), 0),
    "3d": (lambda: nn.Sequential(nn.Conv3d(8, 4, 2), Norm(4)), (4, 8, 4, 3, 3), 0),
    "circular": (
        lambda: nn.Sequential(conv(8, 4, 3, padding=1, padding_mode="circular"), Norm(4)),
        image,
        0,
    ),
    "no affine": (lambda: nn.Sequential(conv(8, 6, 3), Norm(6, 2, affine=False)), image, 0),
    "PCANorm": (lambda: nn.Sequential(conv(8, 6, 3), PCANorm(6, 2)), image, 0),
    "IterNorm": (lambda: nn.Sequential(conv(8, 6, 3), IterNorm(6)), image, 0),
    "linear": (lambda: nn.Sequential(nn.Linear(8, 6), Norm(6, 2), nn.ReLU()), flat, 0),
    "before linear": (lambda: nn.Sequential(nn.ReLU(), Norm(8, 2), nn.Linear(8, 3)), flat, 0),
    "grouped convolution": (lambda: nn.Sequential(conv(8, 12, 3, groups=2), Norm(12, 6)), image, 0),
    "depthwise": (lambda: nn.Sequential(conv(8, 8, 3, groups=8), Norm(8, 2)), image, 1),
    "depthwise, one channel each": (
        lambda: nn.Sequential(conv(8, 8, 3, groups=8), Norm(8, 8)),
        image,
        0,
    ),
    "before padding": (lambda: nn.Sequential(Norm(8), conv(8, 4, 3, padding=1)), image, 1),
    "before no padding": (lambda: nn.Sequential(Norm(8), conv(8, 4, 3, bias=False)), image, 0),
    "before valid": (lambda: nn.Sequential(Norm(8), conv(8, 4, 3, padding="valid")), image, 0),
    "before reflection": (
        lambda: nn.Sequential(Norm(8, 2), conv(8, 4, 3, padding=1, padding_mode="reflect")),
        image,
        0,
    ),
    "before groups": (lambda: nn.Sequential(Norm(8, 4), conv(8, 6, 3, groups=2)), image, 0),
    "before narrower groups": (lambda: nn.Sequential(Norm(8), conv(8, 6, 3, groups=2)), image, 1),
    "pre-activation": (Residual, image, 1),
    "between two": (lambda: nn.Sequential(conv(8, 6, 3), Norm(6), conv(6, 3, 1)), image, 0),
    "on both sides": (lambda: nn.Sequential(Norm(8), conv(8, 6, 3), Norm(6, 2)), image, 0),
    "two in a row": (lambda: nn.Sequential(conv(8, 6, 3), Norm(6), Norm(6, 2)), image, 1),
    "transposed": (lambda: nn.Sequential(nn.ConvTranspose2d(8, 6, 3), Norm(6)), image, 1),
    "alone": (lambda: nn.Sequential(Norm(8, 2)), image, 1),
    "the model itself": (lambda: Norm(8, 2), flat, 1),
    "shared convolution": (
        lambda: Forward(lambda m, x: m.norm(m.conv(m.conv(x))), conv=conv(8, 8, 3), norm=Norm(8)),
        image,
        1,
    ),
    "shared layer": (
        lambda: Forward(lambda m, x: m.norm(m.conv(m.norm(x))), conv=conv(8, 8, 3), norm=Norm(8)),
        image,
        1,
    ),
    "read by others": (lambda: Forward(twice, conv=conv(8, 8, 3), norm=Norm(8)), image, 1),
    "written in between": (lambda: Forward(written, conv=conv(8, 8, 1), norm=Norm(8)), image, 1),
    "own parameter": (lambda: Forward(own_parameter, conv=conv(8, 8, 3), norm=Norm(8)), image, 1),
    "tied weights": (tied, image, 0),
    "normalised weight": (hooked, image, 1),
    "control flow": (
        lambda: Forward(
            lambda m, x: m.norm(m.conv(x)) if x.sum() < 1e9 else x, conv=conv(8, 8, 3), norm=Norm(8)
        ),
        image,
        1,
    ),
    "constant input": (
        lambda: Forward(lambda m, x: x + m.norm(torch.eye(16, 8)).sum(), norm=Norm(8)),
        flat,
        1,
    ),
    "optional argument": (Optional, flat, 1),
}


def trained(model: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    for p in model.parameters():
        nn.init.normal_(p, 0.1, 0.5)
    mixing = torch.randn(shape[1], shape[1])
    with torch.no_grad():
        for _ in range(20):
            x = torch.randn(64, *shape[1:]) + 2
            model(torch.einsum("ij,nj...->ni...", mixing, x))
    return model


def left(model: nn.Module, kind: type[nn.Module]) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, kind)]


@pytest.mark.parametrize("name", CASES)
def test_is_the_same_function(name: str) -> None:
    build, shape, pointwise = CASES[name]
    model = trained(build(), shape)
    state = copy.deepcopy(model.state_dict())
    folded = fold(model)
    assert model.training
    assert_close(model.state_dict(), state)
    assert type(folded) is type(model) or model is left(model, CovarianceNorm)[0]
    assert not any(m.training for m in folded.modules())
    assert not left(folded, CovarianceNorm)
    assert len(left(folded, PointwiseAffine)) == pointwise
    for batch in (3, 1):
        x = torch.randn(batch, *shape[1:]) + 1
        assert_close(folded(x), model.eval()(x), rtol=1e-4, atol=1e-4)
    assert fold(folded)(x).equal(folded(x))


def test_an_optional_argument_given_and_omitted() -> None:
    model = trained(Optional(), flat).eval()
    folded, x = fold(model), torch.randn(flat)
    assert_close(folded(x), model(x))
    assert_close(folded(x, x), model(x, x))


def test_a_merged_layer_leaves_the_identity_in_its_place() -> None:
    folded = fold(trained(nn.Sequential(conv(8, 6, 3, bias=False), Norm(6), nn.ReLU()), image))
    assert [type(m) for m in folded] == [nn.Conv2d, nn.Identity, nn.ReLU]
    assert isinstance(folded[0].bias, nn.Parameter)


def test_tied_weights_part_only_in_the_copy() -> None:
    model = trained(tied(), image)
    folded = fold(model)
    assert model[2].weight is model[0].weight
    assert_close(folded[2].weight, model[2].weight)
    assert not torch.equal(folded[0].weight, model[0].weight)


@pytest.mark.parametrize("name", ["groups", "before padding", "before groups"])
def test_channels_last(name: str) -> None:
    build, shape, _ = CASES[name]
    model = trained(build(), shape).to(memory_format=torch.channels_last).eval()
    folded = fold(model)
    x = torch.randn(shape).to(memory_format=torch.channels_last)
    y = folded(x)
    assert_close(y, model(x), rtol=1e-4, atol=1e-4)
    assert y.is_contiguous(memory_format=torch.channels_last)
    for convolution in left(folded, nn.Conv2d):
        assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", ["after a convolution", "before no padding", "alone"])
def test_keeps_the_dtype(name: str, dtype: torch.dtype) -> None:
    build, shape, _ = CASES[name]
    model = trained(build(), shape).eval().to(dtype)
    folded = fold(model)
    assert {t.dtype for t in folded.state_dict().values()} == {dtype}
    x = torch.randn(shape, dtype=dtype)
    expected = model(x)
    tolerance = {torch.bfloat16: 0.1, torch.float16: 0.02, torch.float64: 1e-10}[dtype]
    assert_close(folded(x), expected, rtol=tolerance, atol=tolerance * expected.abs().max().item())


def test_a_layer_in_float32_among_halves() -> None:
    model = trained(nn.Sequential(nn.ReLU(), Norm(8, 2)), image).eval()
    x = torch.randn(image).bfloat16()
    y = fold(model)(x)
    assert y.dtype == torch.bfloat16
    assert_close(y, model(x), rtol=0.05, atol=0.05)


def test_empty_batches() -> None:
    for shape in (image, flat):
        assert fold(Norm(8))(torch.randn(0, *shape[1:])).shape == (0, *shape[1:])


def test_a_watched_model() -> None:
    model = nn.Sequential(conv(8, 6, 3), Norm(6))
    with ConditioningMonitor(model, every=1):
        trained(model, image)
        folded = fold(model)
    x = torch.randn(image)
    assert_close(folded(x), model.eval()(x), rtol=1e-4, atol=1e-4)


def test_without_running_statistics() -> None:
    model = nn.Sequential(nn.Linear(4, 4), Norm(4, track_running_stats=False))
    with pytest.raises(UnsupportedError, match="track_running_stats=True, got '1' without"):
        fold(model)


def test_hooks_of_a_layer_see_what_they_saw() -> None:
    model, seen = trained(nn.Sequential(conv(8, 6, 3), Norm(6)), image).eval(), []
    model[1].register_forward_hook(lambda module, args, y: seen.append((args[0], y)))
    folded, x = fold(model), torch.randn(image)
    assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)
    (given, after), expected = seen
    assert_close((given, after), expected, rtol=1e-4, atol=1e-4)


class Encoder(nn.Module):
    """Several ways through the same modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = conv(8, 8, 3), Norm(8)
        self.blocks = nn.Sequential(conv(8, 6, 1), Norm(6, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.encode(x).relu())

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x))


class Apart(Encoder):
    def embed(self, x: torch.Tensor, scaled: bool = False) -> torch.Tensor:
        return self.conv(x) if scaled else 2 * self.conv(x)


class NormAlone(Encoder):
    def normalise(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


class ByIndex(Encoder):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks[0](self.encode(x))


class ByLoop(Encoder):
    def features(self, x: torch.Tensor) -> torch.Tensor:
        for part in list(self.children())[:1]:
            x = part(x)
        return x


class Untraceable(Encoder):
    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.mean() < 1e9 else x


class Whole(Encoder):
    def step(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        x, target = batch
        return (self(x) - target).square().mean() if target.sum() < 1e9 else x


@pytest.mark.parametrize(
    ("kind", "method", "pointwise"),
    [
        (Encoder, "encode", 0),
        (Apart, "embed", 1),
        (NormAlone, "normalise", 1),
        (ByIndex, "features", 1),
        (ByLoop, "features", 1),
        (Untraceable, "embed", 1),
        (Whole, "forward", 0),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_other_methods_are_the_same_functions(
    kind: type[Encoder], method: str, pointwise: int, nested: bool
) -> None:
    model = trained(kind(), image).eval()
    outer = fold(nn.Sequential(nn.ReLU(), model)) if nested else fold(model)
    folded, x = outer[1] if nested else outer, torch.randn(image)
    assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)
    found, expected = getattr(folded, method)(x), getattr(model, method)(x)
    assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert len(left(folded, PointwiseAffine)) == pointwise


@pytest.mark.filterwarnings("ignore")  # torch.ao is deprecated
def test_a_quantiser_of_fx_graphs() -> None:
    quantization = pytest.importorskip("torch.ao.quantization")
    of_graphs = pytest.importorskip("torch.ao.quantization.quantize_fx")
    layers = conv(8, 6, 3), Norm(6), nn.ReLU(), Norm(6), nn.ReLU(), conv(6, 4, 3, padding=1)
    folded, x = fold(trained(nn.Sequential(*layers), image)), torch.randn(image)
    assert left(folded, PointwiseAffine)
    mapping = quantization.get_default_qconfig_mapping()
    prepared = of_graphs.prepare_fx(copy.deepcopy(folded), mapping, (x,))
    prepared(x)
    quantised, expected = of_graphs.convert_fx(prepared)(x), folded(x)
    # Measured: 0.01 of the largest value, by 8 bits.
    assert (quantised - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.filterwarnings("ignore")  # torch.ao is deprecated
def test_fuse_model() -> None:
    models = pytest.importorskip("torchvision.models.quantization")
    model = convert_batchnorm(models.resnet18(quantize=False), group_size=16)
    model(torch.randn(8, 3, 64, 64))
    x = torch.randn(2, 3, 64, 64)
    folded, expected = fold(model), model.eval()(x)
    assert_close(folded(x), expected, rtol=1e-3, atol=1e-3)
    folded.fuse_model()
    assert_close(folded(x), expected, rtol=1e-3, atol=1e-3)
    assert not left(folded, nn.BatchNorm2d)


def test_a_graph_module() -> None:
    """Its methods are from generated code."""
    model = trained(nn.Sequential(conv(8, 6, 3), Norm(6)), image).eval()
    traced = fx.GraphModule(model, Tracer().trace(model))
    folded, x = fold(traced), torch.randn(image)
    assert_close(folded(x), model(x), rtol=1e-4, atol=1e-4)
    assert not left(folded, PointwiseAffine)
