"""The fine-grained example on the benchmarks: where it starts from, and what is missing."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

torchvision = pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pytest.importorskip("skimage")  # their photographs
pytest.importorskip("pytorch_lightning")  # their training

CPU = "--trainer.accelerator=cpu"


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("fine_grained")


def state(model: torch.nn.Module, part: str) -> dict[str, torch.Tensor]:
    return {
        name: value.clone()
        for name, value in model.network.get_submodule(part).state_dict().items()
    }


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(second[name], value) for name, value in first.items())


def save(model: torch.nn.Module, path: Path) -> str:
    torch.save({"state_dict": model.state_dict()}, path)
    return str(path)


def test_init_from_gives_trunk_and_reduction_and_leaves_the_classifier(
    example: SimpleNamespace, tmp_path: Path
) -> None:
    build = example.module.FineGrainedClassifier
    first = build(head="isqrt", reduced_channels=8, num_classes=5)
    for weight in first.parameters():
        torch.nn.init.normal_(weight)
    path = save(first, tmp_path / "first.ckpt")
    second = build(head="mpa", reduced_channels=8, num_classes=3, init_from=path)
    classifier = state(second, "classifier")
    second.setup("test")
    assert not same(state(first, "pool"), state(second, "pool"))
    second.setup("fit")
    assert same(state(first, "trunk"), state(second, "trunk"))
    assert same(state(first, "pool"), state(second, "pool"))
    assert same(classifier, state(second, "classifier"))


def test_init_from_takes_what_the_image_classification_example_wrote(
    example: SimpleNamespace, tmp_path: Path, load_example: Callable[[str], SimpleNamespace]
) -> None:
    trunk, channels = example.common.backbones.BACKBONES["resnet18"](3, False, 1)
    pool = example.common.heads.HEADS["isqrt"](channels, 8)
    layers = {"trunk": trunk, "pool": pool, "classifier": torch.nn.Linear(36, 1000)}
    written = torch.nn.ModuleDict({"network": torch.nn.ModuleDict(layers)})
    path = save(written, tmp_path / "imagenet.ckpt")
    options = {"backbone": "resnet18", "in_channels": 3, "reduced_channels": 8}
    model = example.module.FineGrainedClassifier(init_from=path, **options)
    model.setup("fit")
    assert same(trunk.state_dict(), state(model, "trunk"))
    assert same(pool.state_dict(), state(model, "pool"))


def test_trained_checkpoint_needs_no_other(example: SimpleNamespace, tmp_path: Path) -> None:
    start = save(example.module.FineGrainedClassifier(), tmp_path / "start.ckpt")
    limits = [f"--trainer.limit_{split}_batches=1" for split in ("train", "val", "test")]
    short = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", *limits]
    command = example.main.cli(["fit", CPU, f"--model.init_from={start}", *short])
    Path(start).unlink()
    last = Path(command.trainer.log_dir) / "checkpoints" / "last.ckpt"
    model = example.module.FineGrainedClassifier.load_from_checkpoint(last, weights_only=True)
    assert model.hparams.init_from == start


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (lambda path: None, FileNotFoundError, "No file init_from='.*first.ckpt'"),
        (lambda path: path.write_text("?"), ValueError, "init_from must be a checkpoint of Light"),
        (lambda path: torch.save([1], path), ValueError, "init_from must be a checkpoint of Light"),
        (
            lambda path: torch.save({"state_dict": {}}, path),
            ValueError,
            r"init_from must be .* same backbone and channels, with \['trunk.0.weight'\], got",
        ),
    ],
    ids=["missing", "no checkpoint", "no weights", "other weights"],
)
def test_wrong_init_from_is_named(
    example: SimpleNamespace,
    tmp_path: Path,
    write: Callable[[Path], None],
    error: type[Exception],
    message: str,
) -> None:
    path = tmp_path / "first.ckpt"
    write(path)
    model = example.module.FineGrainedClassifier(init_from=str(path))
    with pytest.raises(error, match=message):
        model.setup("fit")


def test_torchvision_weights_go_into_the_trunk_when_training_begins(
    example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr(
        torchvision.models.WeightsEnum, "get_state_dict", lambda *_, **__: dict(fetched)
    )
    model = example.module.FineGrainedClassifier(
        backbone="resnet18", in_channels=3, reduced_channels=8, weights="IMAGENET1K_V1"
    )
    before = state(model, "trunk")
    assert not same(before, fetched)
    model.setup("fit")
    assert same(state(model, "trunk"), fetched)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "max"}, r"head must be one of \['avg', 'mpn', .*\], got 'max'"),
        ({"backbone": "vgg"}, r"backbone must be one of \['patch_resnet', .*\], got 'vgg'"),
        ({"weights": "DEFAULT"}, "weights must be null for backbone 'patch_resnet', got 'DEFAULT'"),
        (
            {"backbone": "resnet18", "in_channels": 3, "weights": "V9"},
            r"weights must be one of \['IMAGENET1K_V1'.*\], got 'V9'",
        ),
        ({"backbone": "resnet18", "weights": "DEFAULT"}, "in_channels must be 3 with weights"),
    ],
)
def test_wrong_model_option_is_named(example: SimpleNamespace, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example.module.FineGrainedClassifier(**options)


@pytest.mark.parametrize("name", ["DTD", "FGVCAircraft"])
def test_missing_benchmark_says_how_to_get_it(example: SimpleNamespace, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"No {name} in root='absent'.*download=true"):
        getattr(example.photographs, name)(root="absent").prepare_data()


def test_missing_folder_says_what_it_must_hold(example: SimpleNamespace) -> None:
    with pytest.raises(FileNotFoundError, match=r"No folder 'train' in root='absent'.*per class"):
        example.photographs.TrainTestFolders(root="absent").setup("fit")


def write_folders(root: Path, part: str, classes: str, count: int) -> None:
    draw = np.random.default_rng(0)
    for name in classes:
        (root / part / name).mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(256, size=(40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / part / name / f"{number}.png")


def test_validation_images_are_a_tenth_of_those_to_train(
    example: SimpleNamespace, tmp_path: Path
) -> None:
    write_folders(tmp_path, "train", "ab", 10)
    write_folders(tmp_path, "test", "ab", 3)
    data = example.photographs.TrainTestFolders(root=str(tmp_path), image_size=28)
    data.setup("fit")
    train, val, test = data.splits.values()
    assert [len(split) for split in (train, val, test)] == [18, 2, 6]
    assert not {*train.indices} & {*val.indices}
    image, label = val[0]
    assert image.shape == (3, 28, 28)
    assert image.dtype == torch.uint8
    assert label in (0, 1)


def test_other_classes_in_test_are_named(example: SimpleNamespace, tmp_path: Path) -> None:
    write_folders(tmp_path, "train", "ab", 1)
    write_folders(tmp_path, "test", "ac", 1)
    with pytest.raises(ValueError, match=r"root must be a folder with the same classes"):
        example.photographs.TrainTestFolders(root=str(tmp_path)).setup("fit")
