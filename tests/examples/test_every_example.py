"""What holds for every example: its configurations, its commands, its comparison."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("torchvision")
pytest.importorskip("jsonargparse")
pytest.importorskip("pytorch_lightning")

from tests.examples.processes import CPU, ROOT

EXAMPLES = sorted(path.parent.name for path in ROOT.glob("examples/*/main.py"))
CONFIGS = sorted(ROOT.glob("examples/*/configs/*.yaml"))
SHORT = (CPU, "--trainer.max_epochs=3", "--trainer.limit_train_batches=4")


@pytest.fixture(scope="module", params=EXAMPLES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def example(name: str, load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example(name)


def fit(example: SimpleNamespace, *options: str) -> dict[str, Any]:
    """The last checkpoint of a training."""
    command = example.main.cli(["fit", *SHORT, *options])
    last = Path(command.trainer.log_dir) / "checkpoints" / "last.ckpt"
    return torch.load(last, weights_only=True)


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


@pytest.mark.parametrize("command", ["fit", "test", "predict"])
def test_a_fast_run_of_every_command(example: SimpleNamespace, command: str) -> None:
    example.main.cli([command, CPU, "--trainer.fast_dev_run=true"])


def test_fit_reports_and_its_checkpoint_serves(example: SimpleNamespace) -> None:
    command = example.main.cli(["fit", *SHORT])
    run = Path(command.trainer.log_dir)
    assert (run / "report.png").stat().st_size > 10_000
    best = run / "checkpoints" / "best.ckpt"
    tested = example.main.cli(["test", CPU, f"--ckpt_path={best}"]).trainer.callback_metrics
    logged = example.common.report.read_curves(run / "metrics.csv")
    measured = [name for name in tested if name.startswith("test_")]
    assert measured
    for name in measured:
        assert tested[name].item() == pytest.approx(logged[name][1][-1])
    applied = example.main.cli(["predict", CPU, f"--ckpt_path={best}"])
    if classifies(example):
        check_predictions(applied)


def check_predictions(applied: Any) -> None:
    """A line for every test sample, of a class and a probability."""
    with (Path(applied.trainer.log_dir) / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(applied.datamodule.splits["test"])
    assert {row["class"] for row in rows} <= set(applied.datamodule.class_names)
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)


def test_bf16_mixed_stays_finite(example: SimpleNamespace) -> None:
    checkpoint = fit(example, "--trainer.precision=bf16-mixed", "--trainer.max_epochs=1")
    floats = [value for value in checkpoint["state_dict"].values() if value.is_floating_point()]
    assert all(value.isfinite().all() for value in floats)


def test_comparison_writes_a_table_figures_and_numbers(
    example: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = example.compare.EXPERIMENT
    experiment.compare(seeds=(0,), epochs=1, output=tmp_path)
    printed = capsys.readouterr().out
    for comparison, variants in experiment.comparisons.items():
        runs = json.loads((tmp_path / comparison / "results.json").read_text())["runs"]
        assert [run["variant"] for run in runs] == list(variants)
        assert all(f"\n| {variant} " in printed for variant in variants)
        assert (tmp_path / comparison / "learning_curves.png").is_file()
        if classifies(example):
            assert len({np.sum(run["confusion"]) for run in runs}) == 1
            assert (tmp_path / comparison / "confusion.png").is_file()
