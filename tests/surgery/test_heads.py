"""Heads replaced by second-order pooling: torchvision, timm, and what is refused."""

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers import CovPool, ISQRTCovPool, MPACovPool
from covlayers.functional import InvalidTypeError, InvalidValueError, UnsupportedError
from covlayers.modules.pooling.second_order_head import SecondOrderHead
from covlayers.surgery.heads import replace_head

TORCHVISION: dict[str, Callable[..., nn.Module]] = {
    name: getattr(tv, name)
    for name in (
        "resnet18",
        "resnet50",
        "convnext_tiny",
        "swin_t",
        "efficientnet_b0",
        "mobilenet_v3_small",
        "regnet_y_400mf",
        "mobilenet_v2",
        "mnasnet0_5",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
    )
} | {
    "vit_b_16": lambda: tv.vit_b_16(image_size=32),
    "densenet": lambda: tv.DenseNet(8, (2, 2), 8),
    "quantizable": lambda: tv.quantization.mobilenet_v2(quantize=False),
}
SLOW = pytest.mark.full  # 86 million weights to draw
TIMM: dict[str, tuple[dict[str, Any], int]] = {
    "resnet18": ({"drop_rate": 0.3}, 64),
    "convnext_atto": ({"drop_rate": 0.3}, 64),
    "efficientnet_b0": ({}, 64),
    "mobilenetv3_small_050": ({}, 64),
    "swin_tiny_patch4_window7_224": ({"img_size": 64, "window_size": 2}, 64),
    "levit_128s": ({}, 224),
    "vgg11": ({"drop_rate": 0.3}, 224),
    "efficientvit_b0": ({}, 64),
    "inception_next_atto": ({}, 64),
    "vit_tiny_patch16_224": ({"img_size": 32}, 32),
    "deit_tiny_distilled_patch16_224": ({"img_size": 32}, 32),
    "vit_tiny_patch16_224 registers": ({"img_size": 32, "reg_tokens": 3, "drop_rate": 0.3}, 32),
    "vit_tiny_patch16_224 no class token": (
        {"img_size": 32, "reg_tokens": 3, "class_token": False, "global_pool": "avg"},
        32,
    ),
}


def vit(**options) -> tv.VisionTransformer:
    sizes = {"image_size": 32, "patch_size": 16, "num_layers": 2, "num_heads": 4}
    return tv.VisionTransformer(**sizes | {"hidden_dim": 32, "mlp_dim": 64} | options)


def timm_model(name: str) -> nn.Module:
    timm = pytest.importorskip("timm")  # an extra: the library runs without it
    return timm.create_model(name.split()[0], num_classes=7, **TIMM[name][0])


def small() -> nn.Module:
    return tv.ResNet(tv.resnet.BasicBlock, [1, 1, 1, 1], num_classes=7)


class Windowed(nn.Module):
    """Hidden layers of maps, the first with a window as large as the maps, as timm has it in VGG.

    Or a layer that leaves a single position by itself.
    """

    def __init__(self, window: int) -> None:
        super().__init__()
        self.input_kernel_size = window
        self.fc1 = nn.Conv2d(6, 9, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc1(x)


class LikeTimm(nn.Module):
    """What timm has around the features of a model."""

    num_features, head_hidden_size = 6, 9
    default_cfg = {"input_size": (3, 14, 14)}  # noqa: RUF012  as in timm

    def __init__(self, window: int = 7) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 2, stride=2)
        self.pre_logits = Windowed(window)
        self.head: nn.Module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(9, 7))

    def reset_classifier(self, num_classes: int, global_pool: str) -> None:
        assert (num_classes, global_pool) == (0, "")
        self.head = nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        return self.features(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pre_logits(self.forward_features(x)))


def images(n: int = 4, size: int = 64) -> Tensor:
    return torch.randn(n, 3, size, size)


def assert_trains(model: nn.Module, x: Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    logits = model(x)
    assert logits.shape == (len(x), 5)
    loss = nn.functional.cross_entropy(logits, torch.arange(len(x)) % 5)
    loss.backward()
    assert torch.isfinite(loss)
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        assert torch.isfinite(p.grad).all(), name
    optimizer.step()


def assert_loads(model: nn.Module, twin: nn.Module, x: Tensor) -> None:
    twin.load_state_dict(model.state_dict())
    assert_close(twin.eval()(x), model.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=SLOW if name == "vit_b_16" else ()) for name in TORCHVISION],
)
def test_torchvision(name: str) -> None:
    x = images(2, 32 if name == "vit_b_16" else 64)
    model, twin = (
        replace_head(TORCHVISION[name](), MPACovPool, 5, reduced_channels=16) for _ in range(2)
    )
    assert_trains(model, x)
    assert_loads(model, twin, x)


@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str) -> None:
    x = images(2, TIMM[name][1])
    model, twin = (replace_head(timm_model(name), CovPool, 5, reduced_channels=8) for _ in range(2))
    assert_trains(model, x)
    assert_loads(model, twin, x)
    assert_close(model(x), model(x))


def test_the_layers_of_a_resnet() -> None:
    model = small()
    old = copy.deepcopy(model)
    kept = model.conv1.weight
    assert replace_head(model, CovPool, 5) is model
    assert model.conv1.weight is kept
    assert isinstance(model.avgpool, CovPool)
    assert model.fc.in_features == 512 * 513 // 2
    x = images(2)
    features = nn.Sequential(*list(old.children())[:-2])(x)
    assert_close(model(x), model.fc(CovPool()(features)))


@pytest.mark.parametrize("pooled", [nn.AdaptiveAvgPool1d(1), nn.AdaptiveAvgPool3d((1, 1, 1))])
def test_positions_of_any_dimension(pooled: nn.Module) -> None:
    layers = OrderedDict(avgpool=pooled, flat=nn.Flatten(), fc=nn.Linear(6, 7))
    model = replace_head(nn.Sequential(layers), CovPool, 5)
    positions = (3,) * (1 if isinstance(pooled, nn.AdaptiveAvgPool1d) else 3)
    assert model(torch.randn(2, 6, *positions)).shape == (2, 5)


def test_layers_on_maps_and_dropout_stay() -> None:
    model = tv.ConvNeXt([tv.convnext.CNBlockConfig(8, None, 2)])
    norm = model.classifier[0]
    replace_head(model, CovPool, 5)
    assert model.avgpool[0] is norm
    x = images(2, 16)
    assert_close(model(x), model.classifier[0](CovPool()(norm(model.features(x)))))

    model = tv.mobilenet_v3_small()
    dropout = model.classifier[2]
    replace_head(model, ISQRTCovPool, 5, reduced_channels=8, iterations=3)
    assert list(model.classifier) == [dropout, model.classifier[1]]
    assert model.classifier[1].in_features == 36
    assert model.avgpool.method.iterations == 3


@pytest.mark.parametrize("representation_size", [None, 16])
def test_the_head_of_a_vision_transformer(representation_size: int | None) -> None:
    model = vit(representation_size=representation_size)
    old = copy.deepcopy(model)
    norm = model.encoder.ln
    replace_head(model, CovPool, 5, fusion="late", reduced_channels=4)
    head = model.encoder.ln.head
    assert isinstance(head, SecondOrderHead)
    assert isinstance(head.pool, CovPool)
    assert model.encoder.ln.norm is norm
    x = images(2, 32)
    patches = old._process_input(x)
    tokens = old.encoder(torch.cat([old.class_token.expand(2, -1, -1), patches], 1))
    assert_close(model(x), head(tokens))


def test_hidden_layers_that_leave_one_position_go() -> None:
    model, x = LikeTimm(), images(2, 14)
    features = model.features(x)
    model = replace_head(model, CovPool, 5)
    assert_close(model(x), model.head(features))
    assert_trains(model, x)


def test_features_of_a_single_position_are_refused() -> None:
    words = "model must have features at two positions .* LikeTimm, .*at least 2 positions.*by hand"
    assert_unchanged(LikeTimm(1), CovPool, 5, {}, UnsupportedError, words)


class Seldom(nn.Module):
    """A classifier whose last linear layer is another one, for training."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 6, 3)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(6, 7)
        self.auxiliary = nn.Linear(6, 7)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.layer(x)).flatten(1))


def test_the_last_linear_layer_need_not_be_the_classifier() -> None:
    model, x = Seldom(), images(2, 9)
    features = model.layer(x)
    model = replace_head(model, CovPool, 5)
    assert_close(model(x), model.head(features))
    assert_trains(model, x)


class Strange(Seldom):
    """As above, with a second way to its logits."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.layer(x).mean((2, 3)).sum()


def test_a_head_that_would_give_no_logits_is_refused() -> None:
    words = "model must give logits with the new head, got {}, which says: .*by hand"
    assert_unchanged(Strange(), CovPool, 5, {}, UnsupportedError, words.format("Strange"))


class Sideways(Seldom):
    """As above, the auxiliary classifier being the one that counts."""

    def forward(self, x: Tensor) -> Tensor:
        self.fc(self.layer(x).mean((2, 3)))
        return self.layer(x).mean((2, 3))


def test_an_output_that_is_no_logits_is_refused() -> None:
    words = r"model must give logits \(2, 5\) with the new head, got shape \(2, 6\) from Sideways"
    assert_unchanged(Sideways(), CovPool, 5, {}, UnsupportedError, words)


class Counting(nn.Module):
    """A pooling of a user's own that looks at values, which meta tensors do not have."""

    def __init__(self, channels: int, **factory: Any) -> None:
        super().__init__()
        self.out_features = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) if x.sum().item() else x.amax((2, 3))


def test_a_pooling_that_looks_at_values_is_taken_as_it_is() -> None:
    assert replace_head(small(), Counting, 5)(images(2)).shape == (2, 5)


def test_hooks_do_not_see_the_trial() -> None:
    model, seen = small(), []
    model.layer4.register_forward_hook(lambda module, args, y: seen.append(y.device.type))
    replace_head(model, CovPool, 5, reduced_channels=4)
    assert seen == []
    model(images(2))
    assert seen == ["cpu"]


def test_a_model_that_cannot_be_copied_is_known_by_its_structure() -> None:
    model = small()
    model.lock = threading.Lock()
    assert replace_head(model, CovPool, 5, reduced_channels=4)(images(2)).shape == (2, 5)


def test_a_second_time() -> None:
    words = r"must have a classifier that reads .* got VisionTransformer.*by hand"
    model = replace_head(vit(), CovPool, 5)
    assert_unchanged(model, CovPool, 5, {}, UnsupportedError, words)


def test_what_a_model_has_computed_and_kept_is_no_obstacle() -> None:
    model = LikeTimm()
    model.kept = {"of the last call": model.features(images(2, 14))}
    assert replace_head(model, CovPool, 5)(images(2, 14)).shape == (2, 5)


def test_prefix_tokens_of_timm_are_no_visual_tokens() -> None:
    for name in ("vit_tiny_patch16_224 registers", "deit_tiny_distilled_patch16_224"):
        model = timm_model(name).eval()
        prefix = model.num_prefix_tokens
        x = images(2, 32)
        tokens = model.forward_features(x)
        model = replace_head(model, CovPool, 5, reduced_channels=4)
        head = model.head[-1]
        assert isinstance(head, SecondOrderHead)
        assert not model.training
        assert not head.training
        assert_close(model(x), head(torch.cat([tokens[:, :1], tokens[:, prefix:]], 1)))


def test_the_dropout_of_timm_comes_after_the_pooling() -> None:
    for name in ("resnet18", "convnext_atto"):
        model = replace_head(timm_model(name), CovPool, 5, reduced_channels=4)
        assert model.head[2].p == 0.3
        assert getattr(model.backbone, "drop_rate", 0) == 0
        assert not any(isinstance(m, nn.Dropout) and m.p for m in model.backbone.modules())


def test_takes_device_dtype_and_mode() -> None:
    model = replace_head(small().double().eval(), CovPool, 5, reduced_channels=4)
    assert model.fc.weight.dtype == model.avgpool.reduction[0].weight.dtype == torch.float64
    assert not any(module.training for module in model.modules())
    with torch.device("meta"):
        model, transformer = small(), vit()
    replace_head(model, CovPool, 5, reduced_channels=4)
    replace_head(transformer.eval(), CovPool, 5)
    assert all(p.is_meta for p in [*model.parameters(), *transformer.parameters()])
    assert not transformer.encoder.ln.head.training


@pytest.mark.parametrize("build", [small, vit])
def test_copies_and_compiles(
    build: Callable[[], nn.Module], whole_graph: Callable[..., Any]
) -> None:
    model = replace_head(build(), MPACovPool, 5, reduced_channels=8).eval()
    x = images(2, 64 if build is small else 32)
    twin = copy.deepcopy(model)
    assert_close(twin(x), model(x), rtol=0, atol=0)
    compiled = whole_graph(twin)
    assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "pool", "num_classes", "options", "error", "words"),
    [
        (small, CovPool, 0, {}, InvalidValueError, "num_classes must be at least 1"),
        (small, CovPool, 5.0, {}, InvalidTypeError, "num_classes must be an int"),
        (small, CovPool(), 5, {}, InvalidTypeError, "pool must be a class"),
        (small, nn.Identity, 5, {}, InvalidTypeError, "out_features"),
        (small, CovPool, 5, {"reduced_channels": 600}, InvalidValueError, "reduced_channels"),
        (small, CovPool, 5, {"fusion": "late"}, InvalidValueError, "fusion must not be given"),
        (small, CovPool, 5, {"bogus": 1}, InvalidTypeError, "bogus"),
        (vit, CovPool, 5, {"fusion": "early"}, InvalidValueError, "fusion must be one of"),
        (vit, CovPool, 5, {"reduced_channels": 600}, InvalidValueError, "reduced_channels"),
        (vit, CovPool, 5, {"class_token": False}, InvalidValueError, "class_token"),
        (nn.Identity, CovPool, 5, {}, UnsupportedError, "model must .* Identity"),
    ],
)
def test_a_call_that_fails_leaves_the_model(
    build: Callable[[], nn.Module],
    pool: Any,
    num_classes: Any,
    options: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    model = build()
    assert_unchanged(model, pool, num_classes, options, error, words)


def assert_unchanged(
    model: nn.Module,
    pool: Any,
    num_classes: Any,
    options: dict[str, Any],
    error: type[Exception],
    words: str,
) -> None:
    before, modules = repr(model), list(model.modules())
    with pytest.raises(error, match=words):
        replace_head(model, pool, num_classes, **options)
    assert repr(model) == before
    assert all(a is b for a, b in zip(model.modules(), modules, strict=True))


def test_a_call_that_fails_leaves_a_model_of_timm() -> None:
    timm = pytest.importorskip("timm")  # an extra: the library runs without it
    large = {"reduced_channels": 6000}
    for name in ("resnet18", "vit_tiny_patch16_224"):
        model = timm_model(name)
        assert_unchanged(model, CovPool, 5, large, InvalidValueError, "reduced_channels")
    for name in ("pit_ti_224", "efficientvim_m1"):  # the class token alone, a list
        model = timm.create_model(name)
        assert_unchanged(model, CovPool, 5, {}, UnsupportedError, "model must have features")
    model = timm.create_model("pit_ti_distilled_224")
    assert_unchanged(model, CovPool, 5, {}, UnsupportedError, "model must .* pooling")


def test_a_model_is_a_module() -> None:
    with pytest.raises(InvalidTypeError, match=r"model must be a torch\.nn\.Module, got function"):
        replace_head(tv.resnet18, CovPool, 5)
