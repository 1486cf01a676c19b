"""What is special to the fine-grained example: its strips, its figures and where it starts from."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pytest.importorskip("skimage")  # their photographs
pl = pytest.importorskip("pytorch_lightning")  # their training

CPU = "--trainer.accelerator=cpu"
HEADS = ("avg", "mpn", "isqrt", "mtp", "mpa", "log")


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("fine_grained")


@pytest.fixture(scope="module")
def data(example: SimpleNamespace) -> pl.LightningDataModule:
    data = example.data.Patches()
    data.setup("fit")
    return data


def test_strips_share_no_pixel(example: SimpleNamespace) -> None:
    for load in example.data.PICTURES.values():
        picture = example.data.grey(load())
        columns = np.broadcast_to(np.arange(picture.shape[1]), picture.shape)
        strips = [example.data.strip(columns, split) for split in ("train", "val", "test")]
        np.testing.assert_array_equal(np.concatenate(strips, 1), columns)


def test_patches_are_of_their_split_and_of_their_picture(
    example: SimpleNamespace, data: pl.LightningDataModule
) -> None:
    size, step = example.data.SIZE, example.data.STEP
    for split, count in example.data.COUNTS.items():
        images, labels = data.splits[split].tensors
        assert labels.bincount().tolist() == len(data.class_names) * [count]
        assert len(np.unique(images.flatten(1), axis=0)) == len(images)
        for label, load in enumerate(example.data.PICTURES.values()):
            strip = torch.from_numpy(example.data.strip(example.data.grey(load()), split).copy())
            windows = strip.unfold(0, size, step).unfold(1, size, step).reshape(-1, size**2)
            found = {bytes(window) for window in windows.numpy()}
            assert {bytes(image) for image in images[labels == label].numpy()} <= found


def test_patches_do_not_depend_on_the_seed_of_the_training(
    example: SimpleNamespace, data: pl.LightningDataModule
) -> None:
    pl.seed_everything(7, verbose=False)
    again = example.data.Patches()
    again.setup("fit")
    for split, dataset in data.splits.items():
        assert torch.equal(again.splits[split].tensors[0], dataset.tensors[0])


def test_light_and_contrast_give_nothing_away(data: pl.LightningDataModule) -> None:
    images = data.splits["train"].tensors[0].float()
    x = data.normalise(images)
    torch.testing.assert_close(x, data.normalise(images / 2 + 30), rtol=0, atol=1e-4)
    torch.testing.assert_close(x.mean((1, 2, 3)), torch.zeros(len(x)), rtol=0, atol=1e-5)
    torch.testing.assert_close(x.square().mean((1, 2, 3)), torch.ones(len(x)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_head_has_finite_gradients_and_the_trunk_of_the_baseline(
    example: SimpleNamespace, data: pl.LightningDataModule, head: str
) -> None:
    assert tuple(example.network.HEADS) == HEADS
    x = data.normalise(data.splits["train"].tensors[0][::100])
    torch.manual_seed(0)
    baseline = example.module.FineGrainedClassifier(head="avg").network.trunk.state_dict()
    torch.manual_seed(0)
    model = example.module.FineGrainedClassifier(head=head)
    trunk = model.network.trunk.state_dict()
    assert all(torch.equal(trunk[name], weight) for name, weight in baseline.items())
    model(x).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())


def test_variants_differ_by_their_head_alone(example: SimpleNamespace) -> None:
    variants = example.compare.EXPERIMENT.comparisons["heads"]
    assert next(iter(variants)) == "avg"
    assert all(options == {"head": head} for head, options in variants.items())


@pytest.mark.parametrize(
    ("head", "figures"),
    [
        ("avg", ["patches.png", "report.png"]),
        ("isqrt", ["patches.png", "report.png", "spectrum.png"]),
    ],
)
def test_figures_are_drawn(example: SimpleNamespace, head: str, figures: list[str]) -> None:
    limits = [f"--trainer.limit_{split}_batches=2" for split in ("train", "val", "test")]
    short = ["--trainer.max_epochs=1", "--trainer.log_every_n_steps=1", *limits]
    command = example.main.cli(["fit", CPU, f"--model.head={head}", *short])
    run = Path(command.trainer.log_dir)
    assert sorted(path.name for path in run.glob("*.png")) == figures
    with Image.open(run / "patches.png") as figure:
        assert figure.width > 1000


@pytest.fixture
def classifier(
    example: SimpleNamespace, data: pl.LightningDataModule
) -> Callable[[str], pl.LightningModule]:
    def build(head: str) -> pl.LightningModule:
        torch.manual_seed(0)
        model = example.module.FineGrainedClassifier(head=head, reduced_channels=8)
        model.trainer = data.trainer = pl.Trainer(accelerator="cpu", logger=False)
        return model

    return build


@pytest.mark.parametrize(("head", "function"), [("mpn", np.sqrt), ("log", np.log)])
def test_spectra_are_those_of_a_covariance_and_of_its_function(
    example: SimpleNamespace,
    data: pl.LightningDataModule,
    classifier: Callable[[str], pl.LightningModule],
    head: str,
    function: np.ufunc,
) -> None:
    before, after = example.figures.spectra(classifier(head), data)
    assert before.shape == after.shape == (240, 8)
    assert (np.diff(before) <= 0).all()
    np.testing.assert_allclose(after, function(before), rtol=1e-2, atol=1e-2)


def test_spectrum_of_a_logarithm_is_drawn(
    example: SimpleNamespace,
    data: pl.LightningDataModule,
    classifier: Callable[[str], pl.LightningModule],
    tmp_path: Path,
) -> None:
    example.figures.draw_spectra(classifier("log"), data, tmp_path / "spectrum.png")
    assert (tmp_path / "spectrum.png").is_file()
