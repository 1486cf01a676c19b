"""Checkpoints that survive a full disk and a kill, and that run no code when they are read."""

import io
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from common.files import whole


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's files, written beside the one before and put in its place when complete.

    Lightning writes to the folder for temporary files and moves. To another disk that is a copy,
    which a full disk or a kill leaves half done in the place of the last good checkpoint. A folder
    that may not be written to it passes over without a word.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path, buffer = Path(path), io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole(path) as file:
                file.write(buffer.getbuffer())
        except OSError as error:
            raise OSError(
                error.errno,
                f"The checkpoint {path} could not be written: {error.strerror}. The one before it "
                "is as it was; put that right and resume with --ckpt_path",
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Whatever the caller says, and from an address too: weights only."""
        return super().load_checkpoint(path, map_location, weights_only=True)
