"""What can happen to a training, as callbacks for the command line of an example."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins import TorchCheckpointIO
from torch.utils.data import Dataset, RandomSampler

NOBODY = 65534


class EndAfterFit(Callback):
    """Ends the process when the last epoch is over: no test, no figures."""

    def on_fit_end(self, *_: Any) -> None:
        os._exit(0)


class KillAt(Callback):
    """Ends the process at once, as a scheduler or a lack of memory does.

    Args:
        moment: a hook of callbacks.
        count: at which call of it, from zero.
    """

    def __init__(self, moment: str, count: int) -> None:
        self.count = count
        setattr(self, moment, self.called)

    def called(self, *_: Any, **__: Any) -> None:
        if self.count == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count -= 1


class AsLightningDoes(Callback):
    """Lightning's own shuffling, random state and writer, in place of the examples' own."""

    def setup(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        def sampler(dataset: Dataset, *_: int) -> RandomSampler:
            return RandomSampler(dataset)

        trainer.datamodule.sampler = sampler
        trainer.callbacks = [c for c in trainer.callbacks if type(c).__name__ != "EpochSeed"]
        trainer.strategy.checkpoint_io = TorchCheckpointIO()


@contextmanager
def full_disk(_: Path, size: int) -> Iterator[None]:
    """No file may become larger: a write ends halfway, as on a full disk, which it stays."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def killed_in_writing(path: Path, size: int) -> Iterator[None]:
    """The system ends the process at the first byte beyond."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with full_disk(path, size):
        yield


@contextmanager
def unwritable_folder(path: Path, _: int) -> Iterator[None]:
    """A folder of another user, for root too."""
    user = os.geteuid()
    path.parent.chmod(0o555)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.parent.chmod(0o755)


Fault = Callable[[Path, int], AbstractContextManager[None]]
FAULTS: dict[str, Fault] = {
    fault.__name__: fault for fault in (full_disk, killed_in_writing, unwritable_folder)
}


class FaultInWriting(Callback):
    """Something is wrong while the checkpoints of the second epoch are written.

    Args:
        fault: which of ``FAULTS``.
        size: bytes that there is room for.
    """

    def __init__(self, fault: str, size: int) -> None:
        self.fault, self.size = FAULTS[fault], size

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        writer = trainer.strategy.checkpoint_io
        save = writer.save_checkpoint

        def save_checkpoint(checkpoint: Any, path: str, *options: Any, **named: Any) -> None:
            if trainer.current_epoch < 1:
                save(checkpoint, path, *options, **named)
                return
            with self.fault(Path(path), self.size):
                save(checkpoint, path, *options, **named)

        writer.save_checkpoint = save_checkpoint
