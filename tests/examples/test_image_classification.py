"""The image classification example as it is used: it trains, resumes, tests, predicts, compares."""

import copy
import csv
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pytest.importorskip("pytorch_lightning")  # their training

import pytorch_lightning as pl

from tests.examples.processes import CPU, in_a_shell

FEW = (CPU, "--trainer.limit_val_batches=2", "--trainer.limit_test_batches=2")
"""Where no weight depends on how much is validated and tested."""


class StopAfterTwoEpochs(pl.Callback):
    """Interrupts a training, whatever it has planned."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch == 1


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("image_classification")


@pytest.fixture(scope="module")
def run(example: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a training without arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        patch.setattr(sys, "argv", ["main.py"])
        patch.setenv("PL_GLOBAL_SEED", "0")
        command = example.main.cli()
        assert command.subcommand == "fit"
        yield Path.cwd() / command.trainer.log_dir


def weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_without_arguments_it_fits_the_default_recipe(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["epoch"] for row in rows if row["val_accuracy"]} == set(map(str, range(12)))
    assert float(next(row["test_accuracy"] for row in rows if row["test_accuracy"])) > 0.97
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 11
    with Image.open(run / "report.png") as figure:
        assert figure.width > 1000


def test_two_processes_train_test_and_report() -> None:
    done = in_a_shell(
        "image_classification",
        "fit",
        *FEW,
        "--model.norm=decorrelated",
        "--model.norm_options.num_groups=4",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--trainer.max_epochs=2",
    )
    assert done.returncode == 0, done.stderr
    run = Path("logs/digits/version_0")
    assert (run / "report.png").is_file()
    state = weights(run / "checkpoints" / "last.ckpt")
    assert state["network.trunk.1.num_batches_tracked"] == 2 * (1077 // 2 // 32)
    cov = state["network.trunk.1.running_cov"]
    assert cov.shape == (4, 8, 8)
    assert torch.linalg.eigvalsh(cov).amin() > 0


def fit(example: SimpleNamespace, *options: str) -> Path:
    """The last checkpoint of a training."""
    command = example.main.cli(["fit", *options])
    return Path(command.trainer.log_dir) / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(("norm", "workers"), [("decorrelated", 2), ("pca", 0)])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    example: SimpleNamespace, norm: str, workers: int
) -> None:
    """The running covariances are among them."""
    planned = (
        *FEW,
        "--trainer.max_epochs=3",
        "--trainer.limit_train_batches=8",
        "--model.milestones=[1]",
        f"--model.norm={norm}",
        f"--data.num_workers={workers}",
    )
    expected = weights(fit(example, *planned))
    interrupted = fit(example, *planned, f"--trainer.callbacks+={__name__}.StopAfterTwoEpochs")
    assert torch.load(interrupted, weights_only=True)["epoch"] == 1
    actual = weights(fit(example, *planned, f"--ckpt_path={interrupted}"))
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_checkpoint_loads_with_weights_only(example: SimpleNamespace, run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    model = example.module.ImageClassifier.load_from_checkpoint(path, weights_only=True)
    assert model.hparams.head == "isqrt"


def test_image_folder_trains(example: SimpleNamespace, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(2):
                pixels = draw.integers(256, size=(40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    data = ["--data=ImageFolder", f"--data.root={tmp_path}", "--data.image_size=28"]
    size = ["--data.batch_size=4", "--model.in_channels=3", "--model.num_classes=2"]
    command = example.main.cli(["fit", CPU, *data, *size, "--trainer.fast_dev_run=true"])
    assert command.trainer.callback_metrics["train_loss"].isfinite()
    assert command.datamodule.class_names == ["cat", "dog"]


def test_comparisons_share_recipe_seed_and_budget(example: SimpleNamespace, tmp_path: Path) -> None:
    """Average pooling and batch normalisation are one network, which both comparisons train."""
    first, second = (
        example.compare.EXPERIMENT.recipe.train(
            name, example.compare.EXPERIMENT.comparisons[comparison][name], 0, 1, tmp_path
        )
        for comparison, name in (("heads", "avg"), ("norms", "batch"))
    )
    assert first.confusion == second.confusion
    assert np.sum(first.confusion) == 360


def test_epochs_are_counted_until_the_target(example: SimpleNamespace, tmp_path: Path) -> None:
    recipe = copy.copy(example.compare.EXPERIMENT.recipe)
    reached = {}
    for recipe.target in (0.0, 1.1):
        trial = recipe.train("avg", {"head": "avg"}, 0, 1, tmp_path / str(recipe.target))
        reached[recipe.target] = trial.epochs_to_target
    assert reached == {0.0: 1, 1.1: None}


def test_unknown_comparison_is_named(example: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match=r"comparisons must be one of \['heads', 'norms'\]"):
        example.compare.EXPERIMENT.compare(comparisons=("losses",))
