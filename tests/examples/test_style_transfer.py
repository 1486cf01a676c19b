"""What is special to the style transfer example: pairs, network, losses, pictures."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

torchvision = pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pl = pytest.importorskip("pytorch_lightning")  # their training

CPU = "--trainer.accelerator=cpu"
VARIANTS = ("exact", "eigh_autograd", "pade_lyapunov", "adain")


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("style_transfer")


@pytest.fixture(scope="module")
def photos(example: SimpleNamespace) -> pl.LightningDataModule:
    data = example.data.Photos(pairs=12)
    data.setup("fit")
    return data


@pytest.fixture
def build(example: SimpleNamespace) -> Callable[..., pl.LightningModule]:
    """A model with the weights of a seed."""

    def build(**options) -> pl.LightningModule:
        torch.manual_seed(0)
        return example.module.StyleModel(**options)

    return build


def pictures(N: int = 2, side: int = 32, seed: int = 0) -> Tensor:
    """Smooth ones, of colours that vary together."""
    noise = torch.randn(N, 3, side, side, generator=torch.Generator().manual_seed(seed))
    mixed = torch.einsum(
        "dc,nchw->ndhw", torch.tensor([[1, 0, 0], [0.5, 1, 0], [0, 0.5, 1]]), noise
    )
    return torch.nn.functional.avg_pool2d(mixed, 3, 1, 1).sigmoid()


def test_photographs_are_in_one_split_each(example: SimpleNamespace) -> None:
    names = [name for split in example.data.Photos.names.values() for name in split]
    assert sorted(names) == sorted(example.photos.PHOTOS)


def test_validation_and_test_are_all_pairs_of_different_photographs(
    photos: pl.LightningDataModule,
) -> None:
    for split in ("val", "test"):
        pairs, names = photos.splits[split], photos.names[split]
        assert set(pairs.names) == {(a, b) for a in names for b in names if a != b}
        content, style = pairs[0]
        assert content.shape == style.shape == (3, 128, 128)
        assert not torch.equal(content, style)


def test_a_training_pair_follows_from_its_number_and_the_seed(
    photos: pl.LightningDataModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = photos.splits["train"]
    first = train[5]
    before = torch.get_rng_state()
    again, other = train[5], train[6]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (3, 64, 64)
    assert 0 <= torch.stack(first).min() <= torch.stack(first).max() <= 1
    monkeypatch.setenv("PL_GLOBAL_SEED", "1")
    assert not torch.equal(first[0], train[5][0])


def test_epochs_number_their_pairs_on(
    example: SimpleNamespace, photos: pl.LightningDataModule
) -> None:
    sampler = example.pairs.EndlessSampler(photos.splits["train"], 1, 0, epoch=2)
    assert sorted(sampler) == list(range(24, 36))


def test_folders_are_split_at_random_but_always_alike(
    example: SimpleNamespace, tmp_path: Path
) -> None:
    for kind, count in (("contents", 9), ("styles", 7)):
        for number in range(count):
            path = tmp_path / kind / str(number % 2) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((40, 50, 3), number, np.uint8)).save(path)
    roots = {kind: str(tmp_path / kind) for kind in ("contents", "styles")}

    def split() -> dict[str, list[set[str]]]:
        sources = example.folders.Folders(**roots, held_out=2).sources()
        return {name: [set(pictures) for pictures in source] for name, source in sources.items()}

    parts = split()
    assert parts == split()
    for kind, count in enumerate((9, 7)):
        sizes = [len(parts[name][kind]) for name in ("train", "val", "test")]
        assert sizes == [count - 4, 2, 2]
        assert len(set.union(*(part[kind] for part in parts.values()))) == count
    data = example.folders.Folders(**roots, held_out=2, pairs=3, crop_size=24, image_size=32)
    data.setup("fit")
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [3, 4, 4]
    assert data.splits["train"][0][1].shape == (3, 24, 24)
    with pytest.raises(FileNotFoundError, match=r"7 pictures in styles=.* more than 8"):
        example.folders.Folders(**roots, held_out=4).sources()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": 60}, "crop_size must be a positive multiple of 8 pixels, got 60"),
        ({"image_size": 0}, "image_size must be a positive multiple of 8 pixels, got 0"),
        ({"smallest_crop": 0.0}, r"smallest_crop must be in \(0, 1\], got 0.0"),
        ({"pairs": 0}, "pairs must be positive, got 0"),
    ],
)
def test_wrong_data_option_is_named(example: SimpleNamespace, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example.data.Photos(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transfer": "gram"}, r"transfer must be one of \['whitening_coloring', 'adain'\]"),
        ({"network": "resnet"}, r"network must be one of \['pyramid', 'vgg19'\], got 'resnet'"),
        ({"features": "lpips"}, r"features must be one of \['random', 'vgg19'\], got 'lpips'"),
        ({"num_groups": 7}, "num_groups must be a divisor of 54, got 7"),
        ({"num_groups": 0}, "num_groups must be positive, got 0"),
        ({"num_hops": 0}, "num_hops must be positive, got 0"),
        ({"num_scales": 0}, "num_scales must be positive, got 0"),
        ({"filter_size": 1}, "filter_size must be 2 or more, got 1"),
        ({"style_weight": -1.0}, "style_weight must be 0 or more, got -1"),
        ({"warmup": 1.0}, "warmup must be between 0 and 1, got 1"),
        ({"method": "qr"}, "method must be"),
        (
            {"weights": "IMAGENET1K_V1"},
            "weights must be null for backbone 'pyramid', got 'IMAGENET1K_V1'",
        ),
    ],
)
def test_wrong_model_option_is_named(
    build: Callable[..., pl.LightningModule], options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build(**options)


def awake(model: pl.LightningModule) -> pl.LightningModule:
    """The model with residual blocks that do something."""
    for block in model.network.blocks:
        torch.nn.init.normal_(block.residual[-1].weight, std=0.02)
    return model


@pytest.mark.parametrize("transfer", ["whitening_coloring", "adain"])
def test_a_picture_in_its_own_style_is_its_reconstruction(
    build: Callable[..., pl.LightningModule], transfer: str
) -> None:
    x = pictures()
    output, again = awake(build(transfer=transfer))(x, x)
    torch.testing.assert_close(output, again, rtol=0, atol=2e-3)
    assert (again - x).abs().max() > 1e-2


def test_untrained_network_is_an_autoencoder(build: Callable[..., pl.LightningModule]) -> None:
    content, style = pictures(), pictures(side=48, seed=1)
    output, again = build()(content, style)
    torch.testing.assert_close(again, style, rtol=0, atol=1e-5)
    assert output.shape == content.shape
    assert 0 <= output.min() <= output.max() <= 1
    assert (output - content).abs().mean() > 0.01


def test_style_is_its_statistics(build: Callable[..., pl.LightningModule]) -> None:
    model = build()
    x, s = torch.randn(2, 54, 12, 12), torch.randn(2, 54, 10, 10)
    shuffled = s.flatten(2)[..., torch.randperm(100)].view_as(s)
    hop = model.network.hops[0]
    torch.testing.assert_close(hop(x, shuffled), hop(x, s), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "eigh_autograd"])
def test_every_weight_that_learns_has_a_gradient(
    example: SimpleNamespace, build: Callable[..., pl.LightningModule], variant: str
) -> None:
    variants = example.compare.EXPERIMENT.comparisons["hops"]
    assert tuple(variants) == VARIANTS
    model, batch = awake(build(**variants[variant])), (pictures(), pictures(seed=1))
    model.total(model.losses(batch, *model(*batch))).backward()
    for name, weight in model.named_parameters():
        assert weight.grad.isfinite().all(), name
        assert weight.grad.any(), name
    assert len(model.network.hops) == 10
    assert all(hop.alpha.grad != 0 for hop in model.network.hops)


def test_losses_and_distance_vanish_for_equal_pictures(example: SimpleNamespace) -> None:
    losses, features = example.losses, example.features.RandomFilters()
    x, y = features(pictures().requires_grad_()), features(pictures(seed=1))
    for loss in (losses.style_loss, losses.content_loss, losses.style_distance):
        assert loss(x, x).abs().max() == 0
        assert loss(x, y).min() > 0.05
    losses.style_loss(x, x).backward()  # no NaN at zero
    distance = losses.style_distance([y[0]], [2 * y[0]])
    torch.testing.assert_close(distance, torch.full((2,), 0.75))


def test_content_loss_does_not_see_style(example: SimpleNamespace) -> None:
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    other = 3 * x + 5
    assert example.losses.content_loss([x], [other]) < 1e-4


def test_random_features_are_always_the_same_and_do_not_learn(
    example: SimpleNamespace, build: Callable[..., pl.LightningModule]
) -> None:
    first = example.features.RandomFilters()
    torch.manual_seed(7)
    assert torch.equal(first.weight, example.features.RandomFilters().weight)
    assert not list(first.parameters())
    assert not any(name.startswith("features") for name in build().state_dict())


def test_whitening_regulariser_counts_if_it_weighs(
    build: Callable[..., pl.LightningModule],
) -> None:
    batch = pictures(), pictures(seed=1)
    assert "whitening" not in build().losses(batch, *batch)
    assert build(whitening_weight=0.1).losses(batch, *batch)["whitening"] > 0


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_is_counted_and_left_out(
    build: Callable[..., pl.LightningModule], broken: float
) -> None:
    model = build()
    optimizer = torch.optim.Adam(model.parameters())
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    for bad in (True, False):
        for weight in model.parameters():
            weight.grad = torch.ones_like(weight)
        if bad:
            model.network.hops[0].alpha.grad.fill_(broken)
        model.on_before_optimizer_step(optimizer)
        optimizer.step()
        same = all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())
        assert same == bad
        assert model.nonfinite_steps == 1


def test_exact_gradient_is_finite_where_styles_are_flat(example: SimpleNamespace) -> None:
    norms = example.flat.gradient_norms({})
    assert list(norms) == ["photograph", "night sky", "half grey", "grey"]
    assert all(np.isfinite(norm) for norm in norms.values())


def test_vgg19_is_fixed_and_mirrored(build: Callable[..., pl.LightningModule]) -> None:
    with torch.device("meta"):
        model = build(network="vgg19", features="vgg19", num_hops=3, weights="IMAGENET1K_V1")
    network = model.network
    assert not any(weight.requires_grad for weight in network.encode.parameters())
    assert not any(weight.requires_grad for weight in model.features.parameters())
    shapes = [tuple(layer.weight.shape[:2]) for layer in network.encode if hasattr(layer, "weight")]
    mirrored = [
        tuple(layer.weight.shape[1::-1]) for layer in network.decode if hasattr(layer, "weight")
    ]
    assert mirrored == shapes[::-1]
    assert (len(network.hops), len(network.blocks)) == (3, 2)
    x = torch.empty(1, 3, 32, 40, device="meta")
    assert network.encode(x).shape == (1, 512, 4, 5)
    assert network.decode(network.encode(x)).shape == x.shape
    assert [y.shape[1] for y in model.features(x)] == [64, 128, 256, 512]


def test_weights_of_torchvision_go_into_encoder_and_features(
    build: Callable[..., pl.LightningModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(network="vgg19", features="vgg19", weights="IMAGENET1K_V1")
    with torch.device("meta"):
        layers = torchvision.models.vgg19().features
    state = {f"features.{name}": torch.rand(w.shape) for name, w in layers.state_dict().items()}
    monkeypatch.setattr(type(model.weights), "get_state_dict", lambda *_, **__: state)
    model.setup("test")
    assert not torch.equal(model.features[0].weight, state["features.0.weight"])
    model.setup("fit")
    assert torch.equal(model.features[0].weight, state["features.0.weight"])
    assert torch.equal(model.network.encode[19].weight, state["features.19.weight"])


def test_ratio_is_that_of_sums(example: SimpleNamespace) -> None:
    ratio = example.metrics.Ratio()
    ratio.update(torch.tensor([6.0, 2.0]), torch.tensor([1.0, 1.0]))
    ratio.update(torch.tensor([1.0]), torch.tensor([1.0]))
    assert ratio.compute() == 3


def test_fit_writes_pictures_of_every_epoch_and_predict_those_of_the_test(
    example: SimpleNamespace,
) -> None:
    short = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=2"]
    small = ["--data.image_size=64", "--data.crop_size=32", "--model.num_scales=2"]
    run = Path(example.main.cli(["fit", CPU, *short, *small]).trainer.log_dir)
    drawn = {path.name for path in run.glob("*.png")}
    assert drawn == {"epoch_000.png", "epoch_001.png", "report.png", "test.png"}
    for name in drawn:
        with Image.open(run / name) as figure:
            assert figure.width > 900
    best = run / "checkpoints" / "best.ckpt"
    applied = example.main.cli(["predict", CPU, *small, f"--ckpt_path={best}"])
    written = {path.name for path in Path(applied.trainer.log_dir).glob("*.png")}
    names = applied.datamodule.splits["test"].names
    assert written == {f"{content}_as_{style}.png" for content, style in names}
    with Image.open(Path(applied.trainer.log_dir) / "china_as_flower.png") as picture:
        assert picture.size == (64, 64)
