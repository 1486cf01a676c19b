"""Tools that find a BatchNorm by its class: what docs/tools.md says of them and of our layers."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.testing import assert_close
from torch.utils.data import DataLoader
from torchvision.ops._utils import split_normalization_params

import covlayers
from covlayers import (
    DecorrelatedBatchNorm,
    GroupWhitening,
    IterNorm,
    PCANorm,
    SwitchableWhitening,
    freeze_stats,
    recalibrate,
)
from covlayers.modules.norms.running_moments import RunningMoments
from tests.docs.markdown_pages import ROOT, blocks

pl = pytest.importorskip("pytorch_lightning")
callbacks = pytest.importorskip("pytorch_lightning.callbacks")

PAGE = "docs/tools.md"
WHITENING = (DecorrelatedBatchNorm, PCANorm, SwitchableWhitening)
NORMS = {
    "decorrelated": lambda: DecorrelatedBatchNorm(4),
    "iternorm": lambda: IterNorm(4, num_groups=2),
    "pca": lambda: PCANorm(4, 2),
    "switchable": lambda: SwitchableWhitening(4),
}
every_norm = pytest.mark.parametrize("build", NORMS.values(), ids=NORMS)
Build = Callable[[], RunningMoments]
EPOCHS = 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def network(build: Build, beside: bool = False) -> nn.Sequential:
    """A convolution and a whitening layer, and a BatchNorm beside it or not."""
    bn = nn.BatchNorm2d(4) if beside else nn.Identity()
    return nn.Sequential(nn.Conv2d(3, 4, 3), build(), bn)


def batches(number: int = 3) -> list[Tensor]:
    return [torch.randn(8, 3, 6, 6) * 2 + 1 for _ in range(number)]


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def averages(norm: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in norm.named_buffers()}


def stays(norm: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in norm.named_buffers())


def plain(features: Iterable[Tensor]) -> Tensor:
    """The plain average over batches of the mean of each channel."""
    return torch.stack([x.mean((0, 2, 3)) for x in features]).mean(0)


class Module(pl.LightningModule):
    """A backbone and a head; it counts the batches of its training."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.seen = backbone, 0
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x))

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        self.seen += 1
        return self(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)


def trained(
    module: Module, data: list[Tensor], *added: Any, epochs: int = EPOCHS, checkpoints: bool = False
) -> Module:
    pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(added),
        logger=False,
        enable_checkpointing=checkpoints,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, DataLoader(data, batch_size=None))
    return module


# The classes


def test_the_tuple_has_every_layer_with_running_averages() -> None:
    classes = [getattr(covlayers, name) for name in covlayers.__all__]
    ours = {one for one in classes if isinstance(one, type) and issubclass(one, RunningMoments)}
    assert {type(build()) for build in NORMS.values()} == ours
    assert {one for one in ours if issubclass(one, WHITENING)} == ours
    assert not any(issubclass(one, _BatchNorm) for one in classes if isinstance(one, type))
    assert not any(GroupWhitening(4, 2).buffers())


def test_the_page_looks_for_the_same_classes() -> None:
    names: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[0].text, names)
    assert names["WHITENING"] == WHITENING


# Averaged weights


@every_norm
def test_update_bn_runs_nothing_without_a_batchnorm(build: Build) -> None:
    model = network(build)
    before = state(model)
    loader = iter(batches())
    update_bn(loader, model)
    assert len(list(loader)) == 3
    assert_close(state(model), before, rtol=0, atol=0)


@every_norm
def test_update_bn_moves_the_averages_on(build: Build) -> None:
    model, data = network(build, beside=True), batches()
    model(batches(1)[0])
    expected = averages(model[1])["running_mean"]
    update_bn(data, model)
    for x in data:
        expected.lerp_(model[0](x).detach().mean((0, 2, 3)), model[1].momentum)
    assert_close(model[1].running_mean, expected)
    assert model[1].num_batches_tracked == 1 + len(data)
    assert model[2].num_batches_tracked == len(data)


def test_dropout() -> None:
    found = []
    model = nn.Sequential(nn.Dropout(), nn.Conv2d(3, 4, 3), IterNorm(4), nn.BatchNorm2d(4))
    model[0].register_forward_hook(lambda dropout, *_: found.append(dropout.training))
    update_bn(batches(1), model)
    recalibrate(model, batches(1))
    assert found == [True, False]


@every_norm
@pytest.mark.parametrize("beside", [False, True])
def test_recalibrate_takes_averages_of_averaged_weights(build: Build, beside: bool) -> None:
    model, data = network(build, beside), batches()
    averaged = AveragedModel(model)
    for x in data:
        model(x)
        averaged.update_parameters(model)
        with torch.no_grad():
            model[0].weight.add_(0.1)
    weights = averaged.module[0].weight
    assert_close(weights, model[0].weight - 0.2)  # of w, w + 0.1 and w + 0.2, where w + 0.3 follows
    assert stays(averaged.module[1], averages(model[1]))  # those of the last model
    assert recalibrate(averaged, data) is averaged
    assert_close(averaged.module[1].running_mean, plain(map(averaged.module[0], data)))
    assert {m.num_batches_tracked.item() for m in averaged.module[1 : 2 + beside]} == {len(data)}


@every_norm
def test_averaged_buffers(build: Build) -> None:
    model = network(build)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75), use_buffers=True)
    averaged.update_parameters(model)
    before = averages(model[1])
    model(batches(1)[0])
    averaged.update_parameters(model)
    for name in ("running_mean", "running_cov"):
        expected = 0.75 * before[name] + 0.25 * model[1].get_buffer(name)
        assert_close(averaged.module[1].get_buffer(name), expected)
    fresh = build()
    fresh.load_state_dict(averaged.module[1].state_dict())
    x = model[0](batches(1)[0])
    assert_close(averaged.module[1].eval()(x), fresh.eval()(x))  # no outdated matrix


@every_norm
@pytest.mark.parametrize("beside", [False, True])
def test_lightning_averages_weights(build: Build, beside: bool, tmp_path) -> None:
    data = batches()
    module = Module(network(build, beside))
    kept = callbacks.ModelCheckpoint(dirpath=tmp_path, save_last=True)
    swa = callbacks.StochasticWeightAveraging(0.1, swa_epoch_start=1)
    trained(module, data, swa, kept, checkpoints=True)
    norm, bn = module.backbone[1:]
    assert module.seen == len(data) * (EPOCHS + beside)  # an epoch more for a BatchNorm
    assert norm.num_batches_tracked == module.seen
    assert not beside or bn.num_batches_tracked == len(data)
    last = torch.load(kept.last_model_path, weights_only=True)["state_dict"]
    assert torch.equal(last["backbone.0.weight"], module.backbone[0].weight) == beside
    expected = plain(map(module.backbone[0], data))
    assert not torch.allclose(norm.running_mean, expected, rtol=1e-2)
    recalibrate(module, data)
    assert_close(norm.running_mean, expected)


@every_norm
def test_lightning_averages_buffers(build: Build) -> None:
    module, found = Module(network(build, beside=True)), []
    norms = module.backbone[1:]
    step = lambda *_: found.append([norm.running_mean.clone() for norm in norms])
    noted = callbacks.LambdaCallback(on_train_batch_end=step)
    ema = callbacks.EMAWeightAveraging(decay=0.75)
    trained(module, batches(2), noted, ema, epochs=1)
    for norm, first, second in zip(norms, *found, strict=True):
        assert_close(norm.running_mean, 0.75 * first + 0.25 * second)


# Frozen statistics


@every_norm
def test_frozen_statistics_last(build: Build) -> None:
    model, data = network(build), batches()
    for x in data:
        model(x)
    freeze_stats(model)
    before = averages(model[1])
    expected = model.eval()(data[0])
    assert_close(model.train()(data[0]), expected)
    assert stays(model[1], before)
    model(data[0]).sum().backward()
    assert model[1].weight.grad is not None
    assert model[1].bias.grad is not None
    model[1].eval()
    assert model.train()[1].training  # while eval() is undone
    freeze_stats(model, False)(data[0])
    assert not stays(model[1], before)


# Lightning's fine-tuning


@every_norm
@pytest.mark.parametrize("train_bn", [True, False])
def test_lightning_freezes_parameters_alone(build: Build, train_bn: bool) -> None:
    model = network(build, beside=True)
    callbacks.BaseFinetuning.freeze(model, train_bn=train_bn)
    assert not any(p.requires_grad for p in model[1].parameters())
    assert {p.requires_grad for p in model[2].parameters()} == {train_bn}
    before = [averages(norm) for norm in model[1:]]
    y = model(batches(1)[0])
    # A BatchNorm normalises by the batch, frozen or not; measured 9e-9.
    assert_close(y.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-6)
    assert not stays(model[1], before[0])
    assert stays(model[2], before[1]) != train_bn


@every_norm
def test_lightning_hands_ours_to_the_optimizer(build: Build) -> None:
    model = network(build, beside=True)
    given = set(callbacks.BaseFinetuning.filter_params(model, train_bn=False))
    assert given == {*model[0].parameters(), *model[1].parameters()}


@every_norm
def test_lightning_makes_ours_trainable(build: Build) -> None:
    model = network(build)
    callbacks.BaseFinetuning.freeze(model)
    norms = [m for m in model.modules() if isinstance(m, WHITENING)]
    callbacks.BaseFinetuning.make_trainable(norms)
    assert all(p.requires_grad for p in model[1].parameters())
    assert not any(p.requires_grad for p in model[0].parameters())


def callback(name: str) -> type:
    """A class of Lightning, or of the page."""
    names: dict[str, Any] = {}
    first, *later = [block.text for block in blocks(PAGE, "python")]
    for text in (first, *(text for text in later if "Finetuning):" in text)):
        exec(text, names)
    return names[name]


@every_norm
@pytest.mark.parametrize("name", ["BackboneFinetuning", "Finetuning"])
def test_backbone_finetuning(build: Build, name: str) -> None:
    """While the backbone is frozen, its averages move, unless the line of the page says no."""
    for unfreezes, by_the_page in ((5, 0), (1, 2)):
        module, added = Module(network(build)), callback(name)(unfreezes)
        norm = trained(module, batches(2), added, epochs=2).backbone[1]
        assert norm.num_batches_tracked == (by_the_page if name == "Finetuning" else 4)
        assert {p.requires_grad for p in norm.parameters()} == {unfreezes < 2}


@every_norm
def test_what_trains_in_a_frozen_backbone(build: Build) -> None:
    """A BatchNorm always; ours by the lines of the page."""
    for name in ("BackboneFinetuning", "TrainNorms"):
        module = Module(network(build, beside=True))
        callback(name)(train_bn=False).freeze_before_training(module)
        convolution, norm, bn = module.backbone
        assert not any(p.requires_grad for p in convolution.parameters())
        assert {p.requires_grad for p in norm.parameters()} == {name == "TrainNorms"}
        assert all(p.requires_grad for p in bn.parameters())


@every_norm
def test_weight_and_bias_stay_once_the_backbone_trains(build: Build) -> None:
    class Kept(callbacks.BackboneFinetuning):
        def finetune_function(self, pl_module, epoch, optimizer):
            super().finetune_function(pl_module, epoch, optimizer)
            pl_module.backbone[1].requires_grad_(False)

    module = Module(network(build))
    convolution, norm = state(module.backbone[0]), state(module.backbone[1])
    trained(module, batches(2), Kept(1), epochs=2)
    assert not torch.equal(module.backbone[0].weight, convolution["weight"])
    assert all(torch.equal(p, norm[name]) for name, p in module.backbone[1].named_parameters())


# timm


@every_norm
def test_timm_freezes_parameters_alone(build: Build) -> None:
    utils = pytest.importorskip("timm.utils")
    model, data = network(build, beside=True), batches()
    model(data[0])
    utils.freeze(model)
    assert type(model[2]).__name__ == "FrozenBatchNorm2d"
    assert type(model[1]) is type(build())
    assert not any(p.requires_grad for p in model.parameters())
    before = averages(model[1])
    model(data[1])
    assert not stays(model[1], before)
    before = averages(freeze_stats(model)[1])
    assert_close(model(data[2]), model.eval()(data[2]))
    assert stays(model.train()[1], before)
    utils.unfreeze(model)
    freeze_stats(model, False)(data[0])
    assert all(p.requires_grad for p in model[1].parameters())
    assert not stays(model[1], before)


@every_norm
def test_timm_passes_over_ours(build: Build) -> None:
    layers = pytest.importorskip("timm.layers")
    model = network(build, beside=True)
    frozen = layers.freeze_batch_norm_2d(model)
    assert type(frozen[2]).__name__ == "FrozenBatchNorm2d"
    assert all(p.requires_grad for p in frozen[1].parameters())
    before = averages(frozen[1])
    frozen(batches(1)[0])
    assert not stays(frozen[1], before)


@every_norm
def test_timm_sends_the_mean_alone(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    utils = pytest.importorskip("timm.utils")
    model, sent = network(build, beside=True), []
    monkeypatch.setattr(torch.distributed, "broadcast", lambda buffer, _: sent.append(id(buffer)))
    utils.distribute_bn(model, 2)
    names = {name for name, buffer in model.named_buffers() if id(buffer) in sent}
    assert names == {"1.running_mean", "2.running_mean", "2.running_var"}


def test_the_block_of_timm_runs() -> None:
    pytest.importorskip("timm")
    names: dict[str, Any] = {}
    (block,) = [block for block in blocks(PAGE, "python") if not block.runs]
    frozen, _, back = block.text.partition("\nunfreeze(")
    exec(compile(frozen, ROOT / PAGE, "exec"), names)
    model = names["model"]
    norms = {name: m for name, m in model.named_modules() if isinstance(m, WHITENING)}
    first = {name for name in norms if name == "bn1" or name.startswith("layer1.")}
    assert {name for name, norm in norms.items() if norm.frozen} == first
    assert {name for name, norm in norms.items() if not norm.weight.requires_grad} == first
    exec(compile(f"unfreeze({back}", ROOT / PAGE, "exec"), names)
    assert not any(norm.frozen for norm in norms.values())
    assert all(p.requires_grad for p in model.parameters())


# Weight decay


every_layer = pytest.mark.parametrize(
    "build", [*NORMS.values(), lambda: GroupWhitening(4, 2)], ids=[*NORMS, "group"]
)


@every_layer
def test_parameters_are_vectors(build: Build) -> None:
    norm = build()
    assert len(list(norm.parameters())) == 2 + 2 * isinstance(norm, SwitchableWhitening)
    assert {p.ndim for p in norm.parameters()} == {1}


@every_layer
def test_by_dimension(build: Build) -> None:
    optim = pytest.importorskip("timm.optim")
    model = network(build, beside=True)
    decay = {
        p: group["weight_decay"]
        for group in optim.param_groups_weight_decay(model, 0.1)
        for p in group["params"]
    }
    assert {decay[p] for norm in model[1:] for p in norm.parameters()} == {0.0}
    assert decay[model[0].weight] == 0.1


@every_layer
def test_by_class(build: Build) -> None:
    model = network(build, beside=True)
    norms, others = map(set, split_normalization_params(model))
    assert norms == {*model[2].parameters()}
    assert others == {*model[0].parameters(), *model[1].parameters()}
    told = [_BatchNorm, *WHITENING, GroupWhitening]
    norms, others = map(set, split_normalization_params(model, told))
    assert norms == {*model[1].parameters(), *model[2].parameters()}
    assert others == {*model[0].parameters()}


# Loops by class or by name


@every_norm
def test_loops_that_freeze(build: Build) -> None:
    model = network(build, beside=True)
    finds = {
        "class": lambda m: isinstance(m, _BatchNorm),
        "name": lambda m: "BatchNorm" in type(m).__name__,
        "ours": lambda m: isinstance(m, (_BatchNorm, *WHITENING)),
    }
    left = {}
    for how, find in finds.items():
        model.train().apply(lambda m: m.eval() if find(m) else None)
        assert not model[2].training
        left[how] = model[1].training
    by_name = type(model[1]) is DecorrelatedBatchNorm
    assert left == {"class": True, "name": not by_name, "ours": False}
