"""What holds for every example: its configurations, its commands, its comparison."""

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pytest.importorskip("pytorch_lightning")  # their training

import pytorch_lightning as pl

from tests.examples.processes import CPU, ROOT

EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/main.py"))
CONFIGS = sorted(ROOT.glob("examples/*/configs/*.yaml"))
LIMITS = {"limit_train_batches": 2, "limit_val_batches": 1, "limit_test_batches": 1}
SHORT = (CPU, "--trainer.max_epochs=2", *(f"--trainer.{name}={n}" for name, n in LIMITS.items()))
SMALL = {
    "style_transfer": {
        "data": {"pairs": 16, "crop_size": 32, "image_size": 64},
        "model": {"num_scales": 2},
    }
}
"""Options of those examples whose steps are long without them."""


@pytest.fixture(scope="module", params=EXAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def example(name: str, load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example(name)


@pytest.fixture(autouse=True)
def coarse_figures(example: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example.common.report, "DPI", 40)


@pytest.fixture
def run(example: SimpleNamespace, name: str) -> Callable[..., Any]:
    """A command on little data, which has run."""
    small = [
        f"--{part}.{option}={value}"
        for part, options in SMALL.get(name, {}).items()
        for option, value in options.items()
    ]
    return lambda command, *options: example.main.cli([command, *small, *options])


def classifies(example: SimpleNamespace) -> bool:
    return issubclass(example.compare.EXPERIMENT.recipe.model, example.common.classifier.Classifier)


def test_configs_parse_and_build(
    example: SimpleNamespace, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configs = [path for path in CONFIGS if path.parts[-3] == name]
    assert configs
    for config in configs:
        with pytest.raises(SystemExit) as finished:
            example.main.cli(["fit", "--config", str(config), "--print_config"])
        assert finished.value.code == 0
        written = yaml.safe_load(config.read_text())
        options = yaml.safe_load(capsys.readouterr().out)["model"]
        assert options.items() >= written["model"].items()
        with torch.device("meta"):
            model = example.compare.EXPERIMENT.recipe.model(**options)
        assert model.hparams.items() >= written["model"].items()


@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_fast_run_without_a_checkpoint(run: Callable[..., Any], command: str) -> None:
    run(command, CPU, "--trainer.fast_dev_run=true")


def test_fit_reports_and_its_checkpoint_serves(
    example: SimpleNamespace, run: Callable[..., Any]
) -> None:
    """The whole test set tells the best epoch from the last, which a few samples may not."""
    short = (*SHORT, "--trainer.limit_test_batches=1.0")
    folder = Path(run("fit", *short).trainer.log_dir)
    assert (folder / "report.png").stat().st_size > 10_000
    best = folder / "checkpoints" / "best.ckpt"
    tested = run("test", *short, f"--ckpt_path={best}").trainer.callback_metrics
    logged = example.common.report.read_curves(folder / "metrics.csv")
    measured = [name for name in tested if name.startswith("test_")]
    assert measured
    for name in measured:
        assert tested[name].item() == pytest.approx(logged[name][1][-1])
    applied = run("predict", CPU, f"--ckpt_path={best}")
    if classifies(example):
        check_predictions(applied)


def check_predictions(applied: Any) -> None:
    """A line for every test sample, of a class and a probability."""
    with (Path(applied.trainer.log_dir) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(applied.datamodule.splits["test"])
    assert {row["class"] for row in rows} <= set(applied.datamodule.class_names)
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)


def test_bf16_mixed_stays_finite(run: Callable[..., Any]) -> None:
    command = run("fit", CPU, "--trainer.fast_dev_run=2", "--trainer.precision=bf16-mixed")
    floats = [value for value in command.model.state_dict().values() if value.is_floating_point()]
    assert floats
    assert all(value.isfinite().all() for value in floats)


def test_comparison_writes_a_table_figures_and_numbers(
    example: SimpleNamespace,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    experiment, trial = example.compare.EXPERIMENT, example.common.trial
    recipe, small = experiment.recipe, SMALL.get(name, {})
    monkeypatch.setattr(trial, "Trainer", partial(trial.Trainer, **LIMITS))
    for part, options in small.items():
        of_recipe = getattr(recipe, f"{part}_options")
        monkeypatch.setattr(recipe, f"{part}_options", of_recipe | options)
    if name == "style_transfer":
        monkeypatch.setattr(example.flat, "SIZE", small["data"]["crop_size"])
    experiment.compare(seeds=(0,), epochs=1, output=tmp_path)
    printed = capsys.readouterr().out
    for comparison, variants in experiment.comparisons.items():
        runs = json.loads((tmp_path / comparison / "results.json").read_text())["runs"]
        assert [run["variant"] for run in runs] == list(variants)
        assert all(f"\n| {variant} " in printed for variant in variants)
        assert (tmp_path / comparison / "learning_curves.png").is_file()
        if classifies(example):
            tested = LIMITS["limit_test_batches"] * recipe.data_options["batch_size"]
            assert {np.sum(run["confusion"]) for run in runs} == {tested}
            assert (tmp_path / comparison / "confusion.png").is_file()


class StopAfterOneEpoch(pl.Callback):
    """Interrupts a training, whatever it has planned."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = True


def test_an_average_is_validated_as_it_is(
    example: SimpleNamespace, name: str, run: Callable[..., Any]
) -> None:
    """Lightning swaps a model and its average through ``data``, which autograd does not count."""
    norm = ["--model.norm=decorrelated"] if name == "image_classification" else []
    short = (*SHORT, "--trainer.limit_train_batches=4", *norm)
    average = "--trainer.callbacks+=pytorch_lightning.callbacks.EMAWeightAveraging"
    options = (*short, average, "--trainer.callbacks.use_buffers=true")
    stop = f"--trainer.callbacks+={__name__}.StopAfterOneEpoch"
    last = None
    for more in (["--trainer.num_sanity_val_steps=0", stop], []):
        fit = run("fit", *options, *more, *([f"--ckpt_path={last}"] if last else []))
        folder = Path(fit.trainer.log_dir).resolve()
        last = folder / "checkpoints" / "last.ckpt"
        logged = example.common.report.read_curves(folder / "metrics.csv")
        fresh = run("validate", *short, f"--ckpt_path={last}").trainer.callback_metrics
        assert {"val_loss"} <= {*fresh} & {*logged}
        for key, value in fresh.items():
            assert logged[key][1][-1] == pytest.approx(value.item(), rel=1e-4), key
