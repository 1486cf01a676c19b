"""What is special to the video example: its motions, what its heads can see, its figures."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

torchvision = pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pl = pytest.importorskip("pytorch_lightning")  # their training

CPU = "--trainer.accelerator=cpu"
VARIANTS = ("single_frame", "avg", "cov", "temporal_avg", "attentive")
each_variant = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("video")


@pytest.fixture(scope="module")
def clean(example: SimpleNamespace) -> pl.LightningDataModule:
    """The data without noise."""
    data = example.data.MovingDigits(noise=0.0)
    data.setup("fit")
    return data


@pytest.fixture
def build(example: SimpleNamespace) -> Callable[..., pl.LightningModule]:
    """A variant of the comparison, with the weights of a seed."""

    def build(variant: str, **options) -> pl.LightningModule:
        torch.manual_seed(0)
        chosen = example.compare.EXPERIMENT.comparisons["heads"][variant]
        return example.module.VideoClassifier(**chosen, reduced_channels=8, **options)

    return build


def clips(N: int = 4) -> Tensor:
    return torch.randn(N, 8, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def awake(model: pl.LightningModule) -> pl.LightningModule:
    """The model with nothing left at zero, in evaluation."""
    for weight in model.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.3)
    return model.eval()


def test_a_clip_moves_as_its_label_says_and_closes(
    example: SimpleNamespace, clean: pl.LightningDataModule
) -> None:
    directions = torch.tensor(list(example.data.DIRECTIONS.values()))
    for dataset in clean.splits.values():
        frames, labels = dataset.tensors
        for clip, direction in zip(frames, directions[labels], strict=True):
            moved = clip.roll(tuple((2 * direction).tolist()), (-2, -1))
            assert torch.equal(moved, clip.roll(-1, 0))


def test_splits_hold_every_digit_once_in_two_motions(clean: pl.LightningDataModule) -> None:
    found: list[bytes] = []
    for name, dataset in clean.splits.items():
        frames, labels = dataset.tensors
        starts = clean.starts[name]
        for clip, start in zip(frames.numpy(), starts, strict=True):
            found.append(np.roll(clip[0, 0], -start, (0, 1))[:8, :8].tobytes())
        first, second = labels.view(-1, 2).unbind(1)
        assert (first != second).all()
        assert labels.bincount(minlength=8).amin() > 0.1 * len(labels)
    assert found[::2] == found[1::2]
    digits = (96 + 64 * load_digits().images / 16).astype(np.uint8)
    assert sorted(found[::2]) == sorted(digit.tobytes() for digit in digits)


def test_clips_do_not_depend_on_the_seed_of_the_training(example: SimpleNamespace) -> None:
    first, second = example.data.MovingDigits(), example.data.MovingDigits()
    first.setup("fit")
    pl.seed_everything(7, verbose=False)
    second.setup("fit")
    assert [len(split) for split in first.splits.values()] == [2154, 720, 720]
    for split, dataset in first.splits.items():
        assert torch.equal(second.splits[split].tensors[0], dataset.tensors[0])
    x = first.normalise(first.splits["train"].tensors[0])
    assert x.mean().abs() < 0.01
    assert abs(x.std() - 1) < 0.01


def test_negative_noise_is_named(example: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="noise must be 0 or more, got -1"):
        example.data.MovingDigits(noise=-1.0)


@each_variant
def test_variant_has_finite_gradients_and_the_trunk_of_the_others(
    build: Callable[..., pl.LightningModule], variant: str
) -> None:
    model, baseline = build(variant), build("avg")
    trunk = model.network.trunk.state_dict()
    for name, weight in baseline.network.trunk.state_dict().items():
        assert torch.equal(trunk[name], weight)
    model(clips()).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_variants_differ_by_head_and_pool_alone(example: SimpleNamespace) -> None:
    variants = example.compare.EXPERIMENT.comparisons["heads"]
    assert tuple(variants) == VARIANTS
    assert all(options.keys() <= {"head", "pool"} for options in variants.values())


@each_variant
def test_only_attention_and_convolution_see_the_order_of_frames(
    build: Callable[..., pl.LightningModule], variant: str
) -> None:
    model, x = awake(build(variant)), clips()
    reverse = x[:, [0, 7, 6, 5, 4, 3, 2, 1]]  # with the same frame in the middle
    same = torch.allclose(model(reverse), model(x), rtol=1e-4, atol=1e-5)
    assert same == (variant in ("single_frame", "avg", "cov"))


def test_single_frame_is_the_one_in_the_middle(build: Callable[..., pl.LightningModule]) -> None:
    model, x = build("single_frame").eval(), clips()
    other = clips().flip(0)
    other[:, 4] = x[:, 4]
    assert torch.equal(model(other), model(x))


@each_variant
def test_place_on_the_torus_gives_nothing_away(
    build: Callable[..., pl.LightningModule], variant: str
) -> None:
    model, x = awake(build(variant)), clips()
    moved = x.roll((4, -6), (-2, -1))
    torch.testing.assert_close(model(moved), model(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("option", ["spatial_attention", "channel_attention", "temporal_conv"])
def test_parts_can_be_left_out(build: Callable[..., pl.LightningModule], option: str) -> None:
    whole, part = build("attentive"), build("attentive", head_options={option: False})
    assert not list(getattr(part.network.pool, option).parameters())
    assert list(getattr(whole.network.pool, option).parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "lstm"}, r"head must be one of \['single_frame', .*\], got 'lstm'"),
        ({"pool": "max"}, r"pool must be one of \['avg', .*\], got 'max'"),
        ({"backbone": "vgg"}, r"backbone must be one of \['small_cnn', .*\], got 'vgg'"),
        ({"head_options": {"level": "clip"}}, "level must be .*"),
        (
            {"weights": "IMAGENET1K_V1"},
            "weights must be null for backbone 'small_cnn', got 'IMAGENET1K_V1'",
        ),
        (
            {"weights": "IMAGENET1K_V1", "backbone": "resnet18"},
            "in_channels must be 3 with weights of torchvision, got 1",
        ),
        (
            {"weights": "V9", "backbone": "resnet18", "in_channels": 3},
            r"weights must be one of \['IMAGENET1K_V1'.*\], got 'V9'",
        ),
    ],
)
def test_wrong_model_option_is_named(example: SimpleNamespace, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example.module.VideoClassifier(**options)


def test_weights_of_torchvision_go_into_the_trunk(
    example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": "resnet18", "in_channels": 3, "reduced_channels": 8}
    model = example.module.VideoClassifier(**options, weights="IMAGENET1K_V1")
    state = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr(type(model.weights), "get_state_dict", lambda *_, **__: state)
    model.setup("test")
    assert not torch.equal(model.network.trunk.each.conv1.weight, state["conv1.weight"])
    model.setup("fit")
    assert torch.equal(model.network.trunk.each.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize(
    ("options", "figures"),
    [
        ([], ["attention.png", "report.png", "spectrum.png"]),
        (["--model.pool=avg"], ["attention.png", "report.png"]),
        (["--model.head=order_free"], ["report.png", "spectrum.png"]),
    ],
)
def test_figures_are_drawn(
    example: SimpleNamespace, options: list[str], figures: list[str]
) -> None:
    limits = [f"--trainer.limit_{split}_batches=2" for split in ("train", "val", "test")]
    short = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", *limits]
    run = Path(example.main.cli(["fit", CPU, *short, *options]).trainer.log_dir)
    assert sorted(path.name for path in run.glob("*.png")) == figures
    for name in figures:
        with Image.open(run / name) as figure:
            assert figure.width > 900


def test_affinities_are_those_of_the_layer(
    example: SimpleNamespace, build: Callable[..., pl.LightningModule]
) -> None:
    block = awake(build("attentive")).network.pool.spatial_attention
    x = torch.randn(2, 8, block.channels, 16)
    weights = example.figures.affinities(block, x).flatten(4).flatten(2, 3)  # (N, T - 2, M, M)
    y = weights @ block.value(x.mT)[:, 2:]
    y = block.norm(y.flatten(0, 2)).view(y.shape)
    torch.testing.assert_close(x[:, 2:] + y.mT, block(x)[:, 2:], rtol=1e-4, atol=1e-4)


def test_displacements_are_counted_around_the_torus(example: SimpleNamespace) -> None:
    here = torch.eye(64).view(1, 1, 8, 8, 8, 8)
    one_down_two_left = here.roll((1, -2), (-2, -1))
    expected = torch.zeros(1, 8, 8)
    expected[0, 5, 2] = 1
    assert torch.equal(example.figures.by_displacement(one_down_two_left), expected)


def test_spectra_are_those_of_a_covariance_and_of_its_root(
    example: SimpleNamespace, build: Callable[..., pl.LightningModule]
) -> None:
    data = example.data.MovingDigits()
    model = build("attentive", pool="mpn")
    data.trainer = model.trainer = pl.Trainer(accelerator="cpu", logger=False)
    data.setup("test")
    before, after = example.figures.spectra(model, data)
    assert before.shape == after.shape == (240, 8)
    assert (np.diff(before) <= 0).all()
    np.testing.assert_allclose(after, np.sqrt(before), rtol=1e-2, atol=1e-2)
