"""The parts of the image classification example: models, data, chance, and its errors."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pl = pytest.importorskip("pytorch_lightning")  # their training

FOLDER = Path(__file__).parents[2] / "examples" / "image_classification"
CONFIGS = sorted((FOLDER / "configs").glob("*.yaml"))
HEADS = ("avg", "mpn", "isqrt", "mtp", "mpa")


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("image_classification")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_config_parses_and_builds_its_model(
    example: SimpleNamespace, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as finished:
        example.main.cli(["fit", "--config", str(config), "--print_config"])
    assert finished.value.code == 0
    options = yaml.safe_load(capsys.readouterr().out)["model"]
    assert options.items() >= yaml.safe_load(config.read_text())["model"].items()
    model = example.module.ImageClassifier(**options).eval()
    with torch.no_grad():
        logits = model(torch.randn(2, options["in_channels"], 64, 64))
    assert logits.shape == (2, options["num_classes"])
    assert logits.isfinite().all()


@pytest.mark.parametrize("head", HEADS)
def test_head_has_finite_gradients(example: SimpleNamespace, head: str) -> None:
    torch.manual_seed(0)
    model = example.module.ImageClassifier(head=head, reduced_channels=8)
    model(torch.randn(4, 1, 8, 8)).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_milestones_divide_the_learning_rate_by_ten(example: SimpleNamespace) -> None:
    model = example.module.ImageClassifier(lr=0.1, milestones=[1, 3])
    [optimizer], [schedule] = model.configure_optimizers()
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_covariance_heads_see_the_resolution_of_the_last_but_one_stage(
    example: SimpleNamespace,
) -> None:
    sizes = {
        head: example.network.build_network("resnet18", head, 10, reduced_channels=8)
        .trunk(torch.randn(1, 3, 64, 64))
        .shape[-1]
        for head in ("avg", "isqrt")
    }
    assert sizes == {"avg": 2, "isqrt": 4}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "max"}, r"head must be one of \['avg', 'mpn', .*\], got 'max'"),
        ({"backbone": "vgg"}, r"backbone must be one of \['small_resnet', .*\], got 'vgg'"),
        ({"norm": "group"}, r"norm must be one of \['batch', .*\], got 'group'"),
        ({"norm": "iternorm", "norm_options": {"num_groups": 5}}, "num_groups must divide .*"),
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more, got -1.0"),
        ({"warmup": 1.0}, "warmup must be between 0 and 1, got 1.0"),
        ({"milestones": [0, 3]}, r"milestones must be positive epochs, got \[0, 3\]"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_model_option_is_named(example: SimpleNamespace, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example.module.ImageClassifier(**options)


@pytest.mark.parametrize("option", ["batch_size", "num_workers", "shift"])
def test_wrong_data_option_is_named(example: SimpleNamespace, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be .*, got -1"):
        example.common.image_data.Digits(**{option: -1})


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_missing_cifar_says_how_to_get_it(example: SimpleNamespace, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"No {name} in root='absent'.*download=true"):
        getattr(example.common.image_data, name)(root="absent").prepare_data()


def test_missing_image_folder_says_what_it_must_hold(example: SimpleNamespace) -> None:
    with pytest.raises(FileNotFoundError, match=r"No folder 'train' in root='absent'.*per class"):
        example.common.image_data.ImageFolder(root="absent").setup("fit")


def test_cifar_is_split_by_class(example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(6000) % 10
    images = np.zeros((6000, 32, 32, 3), np.uint8)
    source = SimpleNamespace(data=images, targets=labels.tolist(), classes=list("abcdefghij"))
    monkeypatch.setattr(example.common.image_data.CIFAR10, "source", lambda *_, **__: source)
    data = example.common.image_data.CIFAR10()
    data.setup("fit")
    image, _ = data.splits["train"][0]
    assert image.shape == (3, 32, 32)
    assert data.splits["val"].tensors[1].bincount().tolist() == 10 * [500]
    assert data.class_names == list("abcdefghij")


def test_digits_split_is_stratified_disjoint_and_constant(example: SimpleNamespace) -> None:
    splits = []
    for seed in (0, 1):
        pl.seed_everything(seed, verbose=False)
        data = example.common.image_data.Digits()
        data.setup("fit")
        splits.append(data.splits)
    assert [len(split) for split in splits[0].values()] == [1077, 360, 360]
    for name, split in splits[0].items():
        counts = split.tensors[1].bincount()
        assert counts.max() - counts.min() <= 0.1 * len(split) * 0.1 + 1
        assert torch.equal(split.tensors[0], splits[1][name].tensors[0])
    digits = example.common.image_data.load_digits()
    everything = np.concatenate([split.tensors[0].flatten(1) for split in splits[0].values()])
    assert sorted(map(bytes, everything)) == sorted(map(bytes, digits.data.astype(np.uint8)))


def test_order_depends_on_epoch_and_seed_only(
    example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        return list(example.common.reproducible.EpochSampler(range(100), 1, 0, epoch))

    first = order(seed=0, epoch=0)
    torch.manual_seed(7)
    assert order(seed=0, epoch=0) == first
    assert order(seed=0, epoch=1) != first
    assert order(seed=1, epoch=0) != first
    assert sorted(first) == list(range(100))


class Chance(torch.utils.data.Dataset):
    """Draws its samples."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Tensor:
        return torch.rand(())


def test_workers_draw_in_an_epoch_whatever_came_before(example: SimpleNamespace) -> None:
    def epochs(first: int) -> list[Tensor]:
        sampler = example.common.reproducible.EpochSampler(Chance(), 1, 0, first)
        loader = torch.utils.data.DataLoader(
            Chance(), 4, sampler=sampler, num_workers=1, generator=sampler.generator
        )
        draws = []
        for epoch in range(first, 2):
            sampler.set_epoch(epoch)
            draws.append(torch.cat(list(loader)))
        return draws

    zeroth, first = epochs(0)
    assert torch.equal(first, epochs(1)[0])
    assert not torch.equal(zeroth, first)


def test_only_training_images_are_augmented(example: SimpleNamespace) -> None:
    data = example.common.image_data.Digits(shift=1, flip=True)
    batch = [torch.arange(128, dtype=torch.uint8).view(2, 1, 8, 8), torch.zeros(2)]
    normalised = (batch[0] - torch.tensor(4.88)) / 6.02
    data.trainer = SimpleNamespace(training=False)
    torch.testing.assert_close(data.on_after_batch_transfer(batch, 0)[0], normalised)
    data.trainer = SimpleNamespace(training=True)
    torch.manual_seed(0)
    assert not torch.allclose(data.on_after_batch_transfer(batch, 0)[0], normalised)


def test_every_image_shifts_alone_and_zeros_come_in(example: SimpleNamespace) -> None:
    torch.manual_seed(0)
    images = torch.zeros(64, 1, 5, 5)
    images[:, :, 2, 2] = 1
    places = example.common.augment.random_shift(images, 1).nonzero()[:, 2:]
    assert len(places) == 64
    assert {tuple(place) for place in places.tolist()} == {
        (row, column) for row in (1, 2, 3) for column in (1, 2, 3)
    }
    assert example.common.augment.random_shift(torch.ones(64, 1, 5, 5), 1).amin() == 0
