"""Weights to start from: trunk and pooling from a checkpoint of an example."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from common.checks import require


def read_checkpoint(path: str) -> dict[str, Tensor]:
    """The weights of the network in a checkpoint that an example has written.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"No file init_from={path!r}. Point --model.init_from at a checkpoint of "
            "examples/image_classification or of this example, such as best.ckpt."
        )
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        state = checkpoint["state_dict"]
    except (UnpicklingError, EOFError, RuntimeError, KeyError, TypeError) as error:
        raise ValueError(f"init_from must be a checkpoint of Lightning, got {path!r}.") from error
    return {name.removeprefix("network."): value for name, value in state.items()}


def load_checkpoint(network: nn.Module, path: str) -> None:
    """Put the trunk and the pooling of a checkpoint into a network; its classifier stays fresh.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no checkpoint, or one of another backbone or other channels.
    """
    found = read_checkpoint(path)
    wanted = {
        name: value
        for name, value in network.state_dict().items()
        if not name.startswith("classifier.")
    }
    unfit = [
        name
        for name, value in wanted.items()
        if name not in found or found[name].shape != value.shape
    ]
    expected = f"a checkpoint of the same backbone and channels, with {unfit[:1]}"
    require(not unfit, "init_from", expected, path)
    network.load_state_dict({name: found[name] for name in wanted}, strict=False)
