"""Batch normalisation replaced by whitening: what is kept, what is picked, what is refused."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.testing import assert_close

from covlayers.functional import InvalidTypeError, InvalidValueError
from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.norms.group_whitening import GroupWhitening
from covlayers.modules.norms.pca_norm import PCANorm
from covlayers.modules.norms.switchable_whitening import SwitchableWhitening
from covlayers.surgery import convert_batchnorm, convert_sync, fold


def network() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), block)


def trained(model: nn.Module, *shape: int) -> nn.Module:
    for _ in range(3):
        model(torch.randn(shape) * 2 + 1)
    return model


@pytest.mark.parametrize(
    ("bn", "shape"),
    [
        (nn.BatchNorm1d(8), (16, 8)),
        (nn.BatchNorm1d(8), (16, 8, 5)),
        (nn.BatchNorm2d(8), (16, 8, 3, 5)),
        (nn.BatchNorm3d(8), (16, 8, 2, 3, 2)),
        (nn.BatchNorm2d(8, momentum=None, dtype=torch.float64), (16, 8, 3, 5)),
        (nn.BatchNorm2d(8, affine=False), (16, 8, 3, 5)),
        (nn.BatchNorm2d(8, track_running_stats=False), (16, 8, 3, 5)),
    ],
)
def test_groups_of_one_channel_are_the_batchnorm_itself(bn: nn.Module, shape: tuple) -> None:
    dtype = torch.float64 if bn.momentum is None else torch.float32
    bn.to(dtype)
    for p in bn.parameters():
        nn.init.normal_(p)
    for _ in range(2):
        bn(torch.randn(shape, dtype=dtype) + 1)
    norm = convert_batchnorm(copy.deepcopy(bn), group_size=1)
    assert isinstance(norm, DecorrelatedBatchNorm)
    assert norm.num_groups == 8
    for mode in (True, False):
        x = torch.randn(shape, dtype=dtype)
        assert_close(norm.train(mode)(x), bn.train(mode)(x))


def test_keeps_what_the_batchnorm_has() -> None:
    model = trained(network(), 4, 3, 12, 12).double()
    model[3].eval()
    model[1].weight.requires_grad_(False)
    old = copy.deepcopy(model)
    weight = model[1].weight
    assert convert_batchnorm(model, group_size=4, momentum=0.3) is model
    for norm, bn, training in ((model[1], old[1], True), (model[3][1], old[3][1], False)):
        assert norm.eps == bn.eps
        assert norm.momentum == 0.3
        assert norm.training is training
        assert norm.running_cov.dtype == torch.float64
        assert_close(norm.running_mean, bn.running_mean)
        assert_close(norm.running_cov.diagonal(dim1=-2, dim2=-1).flatten(), bn.running_var)
        assert norm.running_cov.count_nonzero() == bn.num_features
        assert norm.num_batches_tracked == bn.num_batches_tracked == 3
    assert model[1].weight is weight
    assert not model[1].weight.requires_grad
    x = torch.randn(2, 3, 12, 12).double()
    assert_close(model.eval()(x), old.eval()(x), rtol=1e-9, atol=1e-9)


def test_options_come_before_what_the_batchnorm_has() -> None:
    norm = convert_batchnorm(nn.BatchNorm2d(6), affine=False, track_running_stats=False)
    assert norm.weight is None
    assert norm.running_mean is None
    norm = convert_batchnorm(
        nn.BatchNorm2d(6, affine=False, track_running_stats=False), affine=True
    )
    assert norm.weight is not None
    meta = convert_batchnorm(nn.BatchNorm2d(6, device="meta", dtype=torch.bfloat16).eval())
    assert meta.running_cov.is_meta
    assert meta.weight is not None
    assert meta.weight.dtype == torch.bfloat16
    assert meta.running_cov.dtype == torch.float32


@pytest.mark.parametrize(
    ("layer", "options"),
    [(IterNorm, {"group_size": 4}), (PCANorm, {"num_components": 3}), (SwitchableWhitening, {})],
)
def test_other_layers(layer: type, options: dict) -> None:
    model = convert_batchnorm(trained(network(), 4, 3, 12, 12), layer=layer, **options)
    assert type(model[1]) is type(model[3][1]) is layer
    assert torch.isfinite(model(torch.randn(4, 3, 12, 12))).all()


def test_one_batchnorm_in_two_places_stays_one() -> None:
    bn = nn.BatchNorm1d(4)
    model = nn.ModuleDict({"a": nn.Sequential(bn, nn.Linear(4, 4)), "b": bn})
    convert_batchnorm(model, where="b")
    assert isinstance(model["b"], DecorrelatedBatchNorm)
    assert model["a"][0] is model["b"]


class WithReLU(nn.BatchNorm2d):
    """Does more than normalise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


class WithActivation(nn.BatchNorm2d):
    """As BatchNormAct2d of timm: one class, with a dropout and an activation."""

    def __init__(self, num_features: int, **options: object) -> None:
        super().__init__(num_features, **options)
        self.drop = nn.Identity()
        self.act = nn.SiLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.drop(super().forward(x)))


def with_activations() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
    return nn.Sequential(nn.Conv2d(3, 8, 3), WithActivation(8), block)


def test_leaves_alone_a_subclass_that_does_more_and_says_so() -> None:
    class Renamed(nn.BatchNorm2d):
        pass

    layers = nn.Sequential(WithReLU(4), Renamed(4), nn.SyncBatchNorm(4))
    with pytest.warns(UserWarning, match=r"1 of the 3 BatchNorms stay.*'0': 'WithReLU'") as caught:
        model = convert_batchnorm(layers)
    assert caught[0].filename == __file__
    assert [type(m) for m in model] == [WithReLU, DecorrelatedBatchNorm, DecorrelatedBatchNorm]
    for where in (None, "stem", "0"):
        with pytest.raises(InvalidValueError, match=r"where must pick a .*'0': 'WithReLU'"):
            convert_batchnorm(nn.Sequential(WithReLU(4)), where=where)


def test_an_activation_within_the_batchnorm_is_kept() -> None:
    model = trained(with_activations(), 4, 3, 12, 12)
    nn.init.normal_(model[1].weight)
    old = copy.deepcopy(model).eval()
    weight, act = model[1].weight, model[1].act
    convert_batchnorm(model, group_size=4)
    assert [name for name, _ in model[1].named_children()] == ["norm", "drop", "act"]
    assert isinstance(model[1].norm, DecorrelatedBatchNorm)
    assert isinstance(model[2][1], DecorrelatedBatchNorm)
    assert model[1].norm.weight is weight
    assert model[1].act is act
    assert model[1].training
    assert not convert_batchnorm(WithActivation(4).eval()).training
    x = torch.randn(2, 3, 12, 12)
    assert_close(model.eval()(x), old(x), rtol=1e-4, atol=1e-5)


def test_the_stem_is_the_first_batchnorm_whatever_its_class() -> None:
    model = convert_batchnorm(with_activations(), where="stem")
    assert isinstance(model[1].norm, DecorrelatedBatchNorm)
    assert isinstance(model[2][1], nn.BatchNorm2d)


def test_every_batchnorm_of_an_efficientnet_of_timm() -> None:
    timm = pytest.importorskip("timm")  # an extra: the library runs without it
    model = timm.create_model("efficientnet_b0").eval()
    old, x = copy.deepcopy(model), torch.randn(1, 3, 64, 64)
    convert_batchnorm(model, group_size="auto")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert sum(isinstance(module, DecorrelatedBatchNorm) for module in model.modules()) == 49
    assert_close(model(x), old(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layer", [DecorrelatedBatchNorm, IterNorm])
@pytest.mark.parametrize("assign", [False, True])
def test_a_checkpoint_of_batchnorms_loads(layer: type, assign: bool) -> None:
    old = trained(with_activations(), 4, 3, 12, 12)
    model = convert_batchnorm(with_activations(), layer=layer, group_size=4)
    expected = convert_batchnorm(copy.deepcopy(old), layer=layer, group_size=4)
    model.load_state_dict(old.state_dict(), assign=assign)
    assert_close(dict(model.state_dict()), dict(expected.state_dict()))
    model.load_state_dict(expected.state_dict(), assign=assign)  # and its own, as before
    x = torch.randn(2, 3, 12, 12)
    assert_close(copy.deepcopy(model).eval()(x), expected.eval()(x))
    other = nn.Sequential(nn.Identity(), nn.BatchNorm2d(4)).state_dict()
    with pytest.raises(RuntimeError, match="running_var"):
        nn.Sequential(nn.Identity(), layer(8)).load_state_dict(other)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (None, ["1", "3.1"]),
        ("stem", ["1"]),
        ("3.*", ["3.1"]),
        ("*1", ["1", "3.1"]),
        (lambda name, module: module.num_features == 12, ["3.1"]),
    ],
)
def test_where(where: object, expected: list[str]) -> None:
    model = convert_batchnorm(network(), where=where)
    new = [n for n, m in model.named_modules() if isinstance(m, DecorrelatedBatchNorm)]
    assert new == expected


def test_group_size() -> None:
    assert convert_batchnorm(nn.BatchNorm1d(8), group_size=64).num_groups == 1
    assert convert_batchnorm(nn.BatchNorm1d(8), num_groups=2).num_groups == 2
    with pytest.raises(InvalidValueError, match=r"'1'; group_size='auto' takes .* up to 16"):
        convert_batchnorm(nn.Sequential(nn.Identity(), nn.BatchNorm2d(24)), group_size=16)


@pytest.mark.parametrize(
    ("channels", "size"), [(1, 1), (8, 8), (16, 16), (24, 12), (64, 16), (40, 10), (17, 1)]
)
def test_an_automatic_group_size_is_the_largest_divisor_up_to_16(channels: int, size: int) -> None:
    norm = convert_batchnorm(nn.BatchNorm2d(channels), group_size="auto")
    assert norm.num_groups * size == channels
    assert f"num_groups={norm.num_groups}" in repr(norm)


def test_every_batchnorm_keeps_its_own_eps() -> None:
    model = nn.Sequential(nn.BatchNorm2d(8, eps=1e-3), nn.BatchNorm2d(8))
    for layer in (DecorrelatedBatchNorm, GroupWhitening):
        norms = convert_batchnorm(copy.deepcopy(model), layer=layer, group_size=4)
        assert [norm.eps for norm in norms] == [1e-3, 1e-5]


def test_to_a_layer_without_averages() -> None:
    model = network().eval()
    weight = model[1].weight
    convert_batchnorm(model, layer=GroupWhitening, group_size="auto")
    assert isinstance(model[1], GroupWhitening)
    assert model[1].weight is weight
    assert not model[1].training
    x = torch.randn(2, 3, 12, 12)
    assert model(x).shape == (2, 12, 8, 8)
    convert_batchnorm(model := network(), layer=lambda C, **kept: GroupWhitening(C, 4, kept["eps"]))
    assert model[1].num_groups == model[3][1].num_groups == 4


def test_convert_sync() -> None:
    model = nn.Sequential(IterNorm(4, sync=False), SwitchableWhitening(4, sync=False))
    assert convert_sync(model) is model
    assert [layer.sync for layer in model] == ["auto", "auto"]
    with pytest.raises(InvalidTypeError, match="process_group must be"):
        convert_sync(model, 3)


def test_torch_leaves_our_layers_alone() -> None:
    model = convert_batchnorm(network(), where="stem")
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(converted[1], DecorrelatedBatchNorm)
    assert isinstance(converted[3][1], nn.SyncBatchNorm)


def test_a_pattern_that_picks_nothing_is_told_that_none_picks_all() -> None:
    with pytest.raises(InvalidValueError, match=r"got 'all'.*all of which None picks"):
        convert_batchnorm(nn.Sequential(nn.BatchNorm2d(4)), where="all")


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_keeps_the_process_group() -> None:
    group = dist.ProcessGroup(0, 1)
    model = nn.Sequential(nn.SyncBatchNorm(8, process_group=group), nn.SyncBatchNorm(8))
    assert convert_batchnorm(copy.copy(model))[0].sync is group
    assert model[1].sync == "auto"
    other = nn.Sequential(nn.SyncBatchNorm(8, process_group=group))
    assert convert_batchnorm(other, sync=False)[0].sync is False


@pytest.mark.parametrize("flag", [True, False])
def test_averages_that_were_told_to_stay(flag: bool) -> None:
    bn = trained(nn.BatchNorm2d(8), 8, 8, 3, 3)
    bn.track_running_stats = flag
    norm = convert_batchnorm(copy.deepcopy(bn), group_size=1)
    x = torch.randn(8, 8, 3, 3) + 1
    for mode in (True, False):
        assert_close(norm.train(mode)(x), bn.train(mode)(x))
    assert_close(norm.running_mean, bn.running_mean)
    assert_close(norm.running_cov.flatten(), bn.running_var)
    assert norm.num_batches_tracked == bn.num_batches_tracked == 3 + flag


@pytest.mark.parametrize("how", ["forward", "forward with kwargs", "pre", "backward"])
def test_hooks_go_on(how: str) -> None:
    model, seen = network(), []
    watch = lambda module, *_: seen.append(type(module).__name__)
    register = {
        "forward": model[1].register_forward_hook,
        "forward with kwargs": lambda hook: model[1].register_forward_hook(hook, with_kwargs=True),
        "pre": model[1].register_forward_pre_hook,
        "backward": model[1].register_full_backward_hook,
    }
    handle = register[how](watch)
    model = convert_batchnorm(model, group_size=4)
    model(torch.randn(4, 3, 12, 12)).sum().backward()
    assert seen == ["DecorrelatedBatchNorm"]
    handle.remove()
    model(torch.randn(4, 3, 12, 12)).sum().backward()
    assert len(seen) == 1


class Doubled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def pruned(bn: nn.Module) -> None:
    prune.l1_unstructured(bn, "weight", 0.5)


def parametrized(bn: nn.Module) -> None:
    parametrize.register_parametrization(bn, "weight", Doubled())


def frozen(bn: nn.Module) -> None:
    bn.requires_grad_(False)


@pytest.mark.parametrize("change", [pruned, parametrized, frozen])
def test_a_scale_stays_as_it_is(change) -> None:
    model = network()
    for p in model.parameters():
        nn.init.normal_(p)
    change(model[1])
    model, x = trained(model, 4, 3, 12, 12).eval(), torch.randn(4, 3, 12, 12)
    expected, parameters = model(x), [*model.parameters()]
    model = convert_batchnorm(model, group_size=4)
    assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
    assert {*map(id, parameters)} == {*map(id, model.parameters())}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weight = model[1].weight.detach().clone()
    model.train()(x).square().sum().backward()
    optimizer.step()
    y = model.eval()(x)
    if change is frozen:
        assert torch.equal(model[1].weight, weight)
    else:
        assert not torch.equal(model[1].weight, weight)
    if change is pruned:
        assert model[1].weight.eq(0).sum() == 4
    with torch.no_grad():
        model(x)
        assert_close(fold(model)(x), y, rtol=1e-3, atol=1e-3)


def test_a_lazy_batchnorm_needs_its_channels() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.LazyBatchNorm2d())
    with pytest.raises(InvalidValueError, match="run the model once"):
        convert_batchnorm(model)
    model(torch.randn(4, 3, 12, 12))
    assert convert_batchnorm(model)[1].num_features == 8
