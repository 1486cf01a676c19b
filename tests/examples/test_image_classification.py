"""The image classification example: it runs, resumes, reports, and says what is wrong."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

pytest.importorskip("torchvision")
pytest.importorskip("jsonargparse")
pl = pytest.importorskip("pytorch_lightning")

FOLDER = Path(__file__).parents[2] / "examples" / "image_classification"
CONFIGS = sorted((FOLDER / "configs").glob("*.yaml"))
HEADS = ("avg", "mpn", "isqrt", "mtp", "mpa")
CPU = "--trainer.accelerator=cpu"


class StopAfterTwoEpochs(pl.Callback):
    """Interrupts a training, whatever it has planned."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.current_epoch == 1


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("image_classification")


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from more, and wait for each other on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["main.py"])
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


@pytest.fixture(scope="module")
def run(example: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a training of four epochs, the last one undisturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("run"))
        patch.setattr(sys, "argv", ["main.py"])
        patch.setenv("PL_GLOBAL_SEED", "0")
        command = example.main.cli(["fit", CPU, "--trainer.max_epochs=4"])
        yield Path.cwd() / command.trainer.log_dir


def weights(checkpoint: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_fit_writes_checkpoints_metrics_and_a_figure(run: Path) -> None:
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["epoch"] for row in rows if row["val_accuracy"]} == {"0", "1", "2", "3"}
    assert float(next(row["test_accuracy"] for row in rows if row["test_accuracy"])) > 0.9
    assert (run / "checkpoints" / "best.ckpt").is_file()
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 3
    with Image.open(run / "report.png") as figure:
        assert figure.width > 1000


def test_without_arguments_it_fits_the_default_recipe(example: SimpleNamespace) -> None:
    command = example.main.cli()
    assert command.subcommand == "fit"
    assert command.trainer.callback_metrics["test_accuracy"] > 0.97


def test_script_runs_from_any_folder() -> None:
    command = [sys.executable, FOLDER / "main.py", "fit", CPU, "--trainer.fast_dev_run=true"]
    path = os.pathsep.join([str(FOLDER.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    example: SimpleNamespace, run: Path, workers: int
) -> None:
    planned = ["fit", CPU, "--trainer.max_epochs=4", f"--data.num_workers={workers}"]
    stop = f"--trainer.callbacks+={__name__}.StopAfterTwoEpochs"
    interrupted = Path(example.main.cli([*planned, stop]).trainer.log_dir) / "checkpoints/last.ckpt"
    assert torch.load(interrupted, weights_only=True)["epoch"] == 1
    resumed = example.main.cli([*planned, f"--ckpt_path={interrupted}"]).trainer.log_dir
    expected = weights(run / "checkpoints" / "last.ckpt")
    actual = weights(Path(resumed) / "checkpoints" / "last.ckpt")
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_test_repeats_the_accuracy_of_fit(example: SimpleNamespace, run: Path) -> None:
    command = example.main.cli(["test", CPU, f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"])
    logged = example.report.read_curves(run / "metrics.csv")["test_accuracy"][1][-1]
    assert command.trainer.callback_metrics["test_accuracy"].item() == pytest.approx(logged)


def test_predict_writes_class_and_probability(example: SimpleNamespace, run: Path) -> None:
    command = example.main.cli(["predict", CPU, f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"])
    with (Path(command.trainer.log_dir) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 360
    assert {row["class"] for row in rows} == set("0123456789")
    assert all(0.1 <= float(row["probability"]) <= 1 for row in rows)


def test_checkpoint_loads_with_weights_only(example: SimpleNamespace, run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    model = example.module.ImageClassifier.load_from_checkpoint(path, weights_only=True)
    assert model.hparams.head == "isqrt"


def test_bf16_mixed_stays_finite(example: SimpleNamespace) -> None:
    options = ["--trainer.max_epochs=1", "--trainer.precision=bf16-mixed", "--model.head=mpa"]
    metrics = example.main.cli(
        ["fit", CPU, *options, "--seed_everything=1"]
    ).trainer.callback_metrics
    assert all(value.isfinite() for value in metrics.values())


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
        ({"num_classes": 1}, "num_classes must be at least 2, got 1"),
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"weight_decay": -1.0}, "weight_decay must be 0 or more, got -1.0"),
        ({"warmup": 1.0}, "warmup must be between 0 and 1, got 1.0"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_model_option_is_named(example: SimpleNamespace, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        example.module.ImageClassifier(**options)


@pytest.mark.parametrize("option", ["batch_size", "num_workers", "shift"])
def test_wrong_data_option_is_named(example: SimpleNamespace, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be .*, got -1"):
        example.data.Digits(**{option: -1})


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_missing_cifar_says_how_to_get_it(example: SimpleNamespace, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"No {name} in root='absent'.*download=true"):
        getattr(example.data, name)(root="absent").prepare_data()


def test_missing_image_folder_says_what_it_must_hold(example: SimpleNamespace) -> None:
    with pytest.raises(FileNotFoundError, match=r"No folder 'train' in root='absent'.*per class"):
        example.data.ImageFolder(root="absent").setup("fit")


def test_cifar_is_split_by_class(example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(6000) % 10
    images = np.zeros((6000, 32, 32, 3), np.uint8)
    source = SimpleNamespace(data=images, targets=labels.tolist(), classes=list("abcdefghij"))
    monkeypatch.setattr(example.data.CIFAR10, "source", lambda *_, **__: source)
    data = example.data.CIFAR10()
    data.setup("fit")
    image, _ = data.splits["train"][0]
    assert image.shape == (3, 32, 32)
    assert data.splits["val"].tensors[1].bincount().tolist() == 10 * [500]
    assert data.class_names == list("abcdefghij")


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


def test_digits_split_is_stratified_disjoint_and_constant(example: SimpleNamespace) -> None:
    splits = []
    for seed in (0, 1):
        pl.seed_everything(seed, verbose=False)
        data = example.data.Digits()
        data.setup("fit")
        splits.append(data.splits)
    assert [len(split) for split in splits[0].values()] == [1077, 360, 360]
    for name, split in splits[0].items():
        counts = split.tensors[1].bincount()
        assert counts.max() - counts.min() <= 0.1 * len(split) * 0.1 + 1
        assert torch.equal(split.tensors[0], splits[1][name].tensors[0])
    digits = example.data.load_digits()
    everything = np.concatenate([split.tensors[0].flatten(1) for split in splits[0].values()])
    assert sorted(map(bytes, everything)) == sorted(map(bytes, digits.data.astype(np.uint8)))


def test_order_depends_on_epoch_and_seed_only(
    example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        return list(example.reproducible.EpochSampler(range(100), 1, 0, epoch))

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
        sampler = example.reproducible.EpochSampler(Chance(), 1, 0, first)
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
    data = example.data.Digits(shift=1, flip=True)
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
    places = example.augment.random_shift(images, 1).nonzero()[:, 2:]
    assert len(places) == 64
    assert {tuple(place) for place in places.tolist()} == {
        (row, column) for row in (1, 2, 3) for column in (1, 2, 3)
    }
    assert example.augment.random_shift(torch.ones(64, 1, 5, 5), 1).amin() == 0


def test_compare_writes_a_table_figures_and_numbers(
    example: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example.compare.compare(heads=("avg", "isqrt"), seeds=(0,), epochs=1, output=tmp_path)
    assert "| isqrt |" in capsys.readouterr().out
    runs = json.loads((tmp_path / "results.json").read_text())["runs"]
    assert [run["head"] for run in runs] == ["avg", "isqrt"]
    assert all(np.sum(run["confusion"]) == 360 for run in runs)
    assert (tmp_path / "learning_curves.png").is_file()
    assert (tmp_path / "confusion.png").is_file()
