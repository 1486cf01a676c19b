"""Trainings of the examples that are killed, or cannot write, and are resumed."""

import os
import signal
from collections.abc import Callable, Mapping
from errno import EACCES, EFBIG
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from random import Random
from typing import Any

import pytest
import torch

from tests.counted import Counted
from tests.reliability.interrupted_training.forked import (
    EXAMPLES,
    SHORT,
    UNKNOWN,
    Callbacks,
    fit,
    together,
)
from tests.reliability.same_bits import same

AREA = "interruption"
KILLS, KILLS_IN_WRITING = 10, 2
"""How often each example is killed, at points drawn with its name for a seed."""

EPOCHS, STEPS = SHORT["max_epochs"], SHORT["limit_train_batches"]
MOMENTS = {
    "on_train_batch_start": range(STEPS, EPOCHS * STEPS),
    "on_after_backward": range(STEPS, EPOCHS * STEPS),
    "on_before_optimizer_step": range(STEPS, EPOCHS * STEPS),
    "on_train_batch_end": range(STEPS, EPOCHS * STEPS),
    "on_validation_epoch_end": range(1, EPOCHS),
    "on_train_epoch_end": range(1, EPOCHS),
    "on_save_checkpoint": range(2, 4),  # the first epoch saves the best and the last
}
"""Where a run can be killed once its first epoch is saved: hooks, and which of their calls."""

STOCK: Callbacks = {"AsLightningDoes": {}}
UNWRITTEN = (
    ("full_disk", "a full disk", os.strerror(EFBIG)),
    ("unwritable_folder", "a folder that may not be written to", os.strerror(EACCES)),
)


@pytest.fixture(scope="module")
def root(few: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an unbroken run of each example is."""
    root = tmp_path_factory.mktemp("ours")
    together({name: partial(fit, name, root / name / "unbroken", {}) for name in few})
    return root


@pytest.fixture(scope="module")
def few(full: bool) -> tuple[str, ...]:
    return EXAMPLES if full else ("image_classification",)


@pytest.mark.promise(
    AREA,
    "runs of every example killed at a random step and resumed: weights and optimiser as of an "
    "unbroken run, bit for bit",
)
def test_killed(
    root: Path, few: tuple[str, ...], full: bool, counted: Counted, tmp_path: Path
) -> None:
    counted.cases(together(killed(root, few, KILLS if full else 1, {})))
    if full:
        counted.beside = f"Lightning's shuffling: {resumed_by_default(tmp_path)}"


@pytest.mark.promise(
    AREA, "runs killed at a random byte of a checkpoint that they write, and resumed: the same"
)
def test_killed_in_writing(root: Path, few: tuple[str, ...], full: bool, counted: Counted) -> None:
    counted.cases(together(killed_in_writing(root, few, KILLS_IN_WRITING if full else 1)))


@pytest.mark.promise(
    AREA, "{what} at a checkpoint: an error that names it, and the one before stays"
)
@pytest.mark.parametrize(("fault", "what", "words"), UNWRITTEN)
def test_unwritten(
    fault: str,
    what: str,
    words: str,
    root: Path,
    few: tuple[str, ...],
    full: bool,
    counted: Counted,
) -> None:
    outcomes = unwritten(root, root, few, fault, words, {})
    counted.cases({name: named and kept for name, (named, kept) in outcomes.items()})
    if full:
        stock = root.with_name("stock")
        counted.beside = in_words(unwritten(root, stock, few, fault, words, STOCK))


def killed(
    root: Path, examples: tuple[str, ...], count: int, callbacks: Callbacks
) -> dict[str, Callable[[], bool]]:
    """Runs to kill at random steps."""
    every = [(moment, call) for moment, calls in MOMENTS.items() for call in calls]
    return {
        f"{name}, {moment} {call}": partial(
            resumes,
            name,
            root / name / f"{moment}_{call}",
            {"KillAt": {"moment": moment, "count": call}},
            signal.SIGKILL,
            callbacks,
        )
        for name in examples
        for moment, call in Random(name).sample(every, count)
    }


def killed_in_writing(
    root: Path, examples: tuple[str, ...], count: int
) -> dict[str, Callable[[], bool]]:
    """Runs to kill at random bytes of a checkpoint."""
    return {
        f"{name}, byte {size}": partial(
            resumes,
            name,
            root / name / f"byte_{size}",
            {"FaultInWriting": {"fault": "killed_in_writing", "size": size}},
            signal.SIGXFSZ,
            {},
        )
        for name in examples
        for size in Random(name).sample(range(size_of(root / name)), count)
    }


def resumes(
    example: str, folder: Path, fault: Callbacks, ending: signal.Signals, callbacks: Callbacks
) -> bool:
    """Whether a run that ends by that signal goes on as if it had not."""
    ended_by = fit(example, folder, {**callbacks, **fault})
    if ended_by not in (-ending, UNKNOWN) or content(folder) is None:
        return False
    fit(example, folder, callbacks, f"--ckpt_path={checkpoint(folder)}")
    ended, expected = content(folder, 1), content(folder.parent / "unbroken")
    parts = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers")
    return ended is not None and all(same(ended[part], expected[part]) for part in parts)


def resumed_by_default(root: Path) -> str:
    """How many examples resume as an unbroken run with Lightning's own order and random state."""
    together({name: partial(fit, name, root / name / "unbroken", STOCK) for name in EXAMPLES})
    outcomes = together(killed(root, EXAMPLES, 1, STOCK))
    return f"{sum(outcomes.values())} of {len(outcomes)}"


def unwritten(
    unbroken: Path,
    root: Path,
    examples: tuple[str, ...],
    fault: str,
    words: str,
    callbacks: Callbacks,
) -> dict[str, tuple[bool, bool]]:
    """What runs do that cannot write."""
    return together(
        {
            name: partial(
                fails,
                name,
                root / name / fault,
                {
                    **callbacks,
                    "FaultInWriting": {"fault": fault, "size": size_of(unbroken / name) // 2},
                },
                words,
            )
            for name in examples
        }
    )


def in_words(outcomes: Mapping[str, tuple[bool, bool]]) -> str:
    """The same of Lightning's own writer."""
    named, kept = (sum(part) for part in zip(*outcomes.values(), strict=True))
    return f"Lightning's writer: named in {named}, kept in {kept} of {len(outcomes)}"


def fails(example: str, folder: Path, callbacks: Callbacks, words: str) -> tuple[bool, bool]:
    """Whether a run ends with an error that names its checkpoint, and what came before is kept."""
    ended = fit(example, folder, callbacks)
    last_line = (folder / "log.txt").read_text().rstrip().rpartition("\n")[2]
    kept = content(folder)
    named = ended == 1 and ".ckpt" in last_line and words in last_line
    return named, kept is not None and kept["epoch"] == 0


def checkpoint(folder: Path, version: int = 0) -> Path:
    """The last checkpoint of a run in a folder."""
    return next(folder.glob(f"logs/*/version_{version}/checkpoints/last.ckpt"), folder / "none")


def size_of(folder: Path) -> int:
    """Bytes that the last checkpoint of an example has."""
    return checkpoint(folder / "unbroken").stat().st_size


def content(folder: Path, version: int = 0) -> Any:
    """What is in the last checkpoint of a run, None if it cannot be loaded."""
    try:
        return torch.load(checkpoint(folder, version), weights_only=True)
    except (OSError, RuntimeError, EOFError, UnpicklingError):
        return None
