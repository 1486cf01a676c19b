"""The command line of the examples: train, test or apply a network, and report on it."""

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self

from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins import TorchCheckpointIO

from common.checkpoints import WholeCheckpoints
from common.reproducible import EpochSeed

AT_EPOCH_END = {"save_on_train_epoch_end": True, "enable_version_counter": False}


class Cli(LightningCLI):
    """Lightning's command line, with the best and the last epoch kept and a report after ``fit``.

    Attributes:
        monitor: what is measured to find the best epoch.
        mode: whether the best is the ``min`` or the ``max``.
    """

    monitor: ClassVar[str]
    mode: ClassVar[str]

    @classmethod
    def run(
        cls,
        model: type[LightningModule],
        data: type[LightningDataModule],
        default: Path,
        args: list[str] | None = None,
    ) -> Self:
        """Run a command.

        Args:
            model: what ``--model`` configures.
            data: base of what ``--data`` chooses from.
            default: the configuration that holds where none is given.
            args: the command line; by default the process's own, and ``fit`` if that is empty.
        """
        warnings.filterwarnings("ignore", message=".*(many workers|persistent_workers)")
        arguments = args or sys.argv[1:] or ["fit"]
        configured = any(argument.split("=")[0] in ("-c", "--config") for argument in arguments)
        defaults = {"default_config_files": [] if configured else [str(default)]}
        checkpoints = [
            ModelCheckpoint(filename="best", monitor=cls.monitor, mode=cls.mode, **AT_EPOCH_END),
            ModelCheckpoint(filename="last", **AT_EPOCH_END),
        ]
        return cls(
            model,
            data,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            trainer_defaults={"callbacks": [EpochSeed(), *checkpoints]},
            parser_kwargs={command: defaults for command in cls.subcommands()},
            args=None if arguments == sys.argv[1:] else arguments,
        )

    def instantiate_trainer(self, **options: Any) -> Trainer:
        trainer = super().instantiate_trainer(**options)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # and none of the user's own
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        return trainer

    def before_fit(self) -> None:
        if find_spec("tensorboard") and not self.trainer.fast_dev_run:
            tensorboard = TensorBoardLogger(self.trainer.log_dir, name="", version="")
            self.trainer.loggers = [*self.trainer.loggers, tensorboard]

    def after_fit(self) -> None:
        if self.trainer.fast_dev_run:
            return
        best = self.trainer.checkpoint_callback.best_model_path
        self.trainer.test(self.model, self.datamodule, ckpt_path=best)
        run = Path(self.trainer.log_dir)  # a broadcast, so every process asks
        if self.trainer.is_global_zero:
            self.draw(run)
            figures = ", ".join(sorted(path.name for path in run.glob("*.png")))
            print(f"Checkpoints, metrics and {figures} are in {run}")

    def draw(self, run: Path) -> None:
        """Draw the figures of a run into its folder."""
        raise NotImplementedError
