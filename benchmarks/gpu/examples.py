"""Every example trained for a moment by Lightning, in float32 and in mixed precision.

    python -m benchmarks.gpu.examples NAME DEVICE STEPS SECONDS

The network, the loss and the optimiser are of the example's own configuration; the inputs are
random numbers of the shape of its data, which need packages of their own. Examples have files of
the same names, so each is trained in a process of its own, all at once: no time is compared.
"""

import json
import sys
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from time import monotonic
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.gpu.processes import MARGIN, OK, OUT_OF_TIME, ROOT, at_once, python, told
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.measure import Row

# The configuration, the class of the model, a batch, and the shape of an input.
EXAMPLES: dict[str, tuple[str, str, int, tuple[int, ...]]] = {
    "image_classification": ("digits", "ImageClassifier", 32, (1, 8, 8)),
    "fine_grained": ("patches", "FineGrainedClassifier", 32, (1, 24, 24)),
    "vit": ("digits", "SecondOrderViTClassifier", 64, (1, 8, 8)),
    "video": ("moving_digits", "VideoClassifier", 32, (8, 1, 16, 16)),
    "style_transfer": ("photos", "StyleModel", 4, (3, 64, 64)),
}
QUICK = ("image_classification", "style_transfer")
PRECISIONS = ("32-true", "bf16-mixed")
SECONDS = 3
"""Of each training."""


def cases(setting: Setting) -> Cases:
    """All of them."""
    return {"examples": partial(all_at_once, setting)}


def all_at_once(setting: Setting) -> Iterator[Row]:
    """One row for each example and precision, or one that says why there is none."""
    options = (setting.device, "2" if setting.quick else "-1", str(SECONDS))
    names = QUICK if setting.quick else EXAMPLES
    commands = {name: python("benchmarks.gpu.examples", name, *options) for name in names}
    for name, code, said in at_once(commands, setting.until - MARGIN):
        yield from (json.loads(line) for line in said.splitlines() if line.startswith("{"))
        if code is None:
            yield {"what": name, "status": OUT_OF_TIME}
        elif code:
            last = " ".join(said.split())[-300:]
            yield {"what": name, "status": f"the process ended with {code}: {last}"}


def train(name: str, device: str, steps: int, seconds: float) -> Iterator[Row]:
    """The rows of one example."""
    folder = ROOT / "examples" / name
    sys.path[:0] = [str(folder), str(folder.parent)]
    config, kind, batch, shape = EXAMPLES[name]
    try:
        import pytorch_lightning as lightning
        import yaml

        model = getattr(import_module("module"), kind)
    except ModuleNotFoundError as error:
        yield {"what": name, "status": f"skipped: not installed: {error.name}"}
        return
    options = yaml.safe_load((folder / "configs" / f"{config}.yaml").read_text())
    for precision in PRECISIONS:
        lightning.seed_everything(0, verbose=False)
        losses: list[float] = []
        start = monotonic()
        row: Row = {"what": name, "precision": precision, "status": OK}
        try:
            made = model(**options["model"])
            trainer = lightning.Trainer(
                accelerator={"cuda": "gpu"}.get(device, device),
                devices=1,
                precision=precision,
                max_epochs=1,
                max_steps=steps,
                max_time={"seconds": seconds},
                gradient_clip_val=options["trainer"].get("gradient_clip_val"),
                callbacks=[recorder(lightning.Callback, losses)],
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(made, loader(name, batch, shape, options["model"].get("num_classes", 1)))
        except Exception as error:  # whatever a training raises is its result
            row["status"] = told(error)
        else:
            row |= {"steps": len(losses), "seconds": monotonic() - start}
            row |= {"first_loss": losses[0], "last_loss": losses[-1]}
            if not all(map(torch.isfinite, map(torch.tensor, losses))):
                row |= {"status": "a loss is not finite", "first_loss": None, "last_loss": None}
        yield row


def loader(name: str, batch: int, shape: tuple[int, ...], classes: int) -> DataLoader[Any]:
    """Random inputs of the example, pairs of pictures or labelled features."""
    generator = torch.Generator().manual_seed(0)
    if name == "style_transfer":
        first, second = torch.rand(2, 50 * batch, *shape, generator=generator)
    else:
        first = torch.randn(50 * batch, *shape, generator=generator)
        second = torch.randint(classes, (50 * batch,), generator=generator)
    return DataLoader(TensorDataset(first, second), batch)


def recorder(base: Any, losses: list[float]) -> Any:
    """A callback that keeps every loss."""

    class Recorder(base):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
            losses.append(float(outputs["loss"]))

    return Recorder()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    for row in train(arguments[0], arguments[1], int(arguments[2]), float(arguments[3])):
        print(json.dumps(row), flush=True)
