"""Examples in processes of their own."""

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from tests.forked import CONTEXT

ROOT = Path(__file__).parents[3]
SHORT = {
    "max_epochs": 3,
    "limit_train_batches": 4,
    "limit_val_batches": 1,
    "num_sanity_val_steps": 0,
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
EXAMPLES = tuple(sorted(path.parent.name for path in ROOT.glob("examples/*/main.py")))
SMALL = {
    "fine_grained": ("--data.batch_size=8",),
    "vit": ("--data.batch_size=16",),
    "video": ("--data.batch_size=4",),
    "style_transfer": ("--data.batch_size=1", "--data.crop_size=32", "--data.image_size=32"),
}

UNKNOWN = 255
"""How a process ended where the fork server of Python lost it, as of 2 in 60 that were killed."""

CALLBACKS = "tests.reliability.interrupted_training.interruptions"
Callbacks = Mapping[str, Mapping[str, Any]]
"""Names of ``interruptions.py`` and their options."""


def fit(example: str, folder: Path, callbacks: Callbacks, *options: str) -> int:
    """Train in a folder, and say how the process ended; it does when the last epoch is over."""
    added = [
        "--trainer.callbacks+="
        + json.dumps(
            {
                "class_path": f"{CALLBACKS}.{name}",
                "init_args": dict(arguments),
            }
        )
        for name, arguments in {**callbacks, "EndAfterFit": {}}.items()
    ]
    return run(example, folder, "fit", *added, *options)


def run(example: str, folder: Path, command: str, *options: str) -> int:
    """Run a command on small data, and say how the process ended; it prints to ``log.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    short = [f"--trainer.{name}={str(value).lower()}" for name, value in SHORT.items()]
    arguments = [command, *short, *SMALL.get(example, ()), *options]
    process = CONTEXT.Process(target=_main, args=(example, folder, arguments))
    process.start()
    process.join()
    return process.exitcode


def together(work: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each returns, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(work, pool.map(lambda one: one(), work.values()), strict=True))


def enter(example: str) -> None:
    """Have the modules of an example found by their plain names."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(ROOT / "examples" / example))


def _main(example: str, folder: Path, arguments: list[str]) -> None:
    os.chdir(folder)
    with Path("log.txt").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    sys.argv = ["main.py"]
    enter(example)
    importlib.import_module("main").cli(arguments)
