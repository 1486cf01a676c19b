"""Weights to start from: torchvision's of a trunk, or an own checkpoint's of trunk and pooling."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torchvision.models import WeightsEnum, get_model_weights, list_models

from common.checks import choose, require


def find_weights(backbone: str, weights: str) -> WeightsEnum:
    """Torchvision's weights of that name.

    Raises:
        ValueError: if the backbone has none, or none of that name.
    """
    require(backbone in list_models(), "weights", f"null for backbone {backbone!r}", weights)
    return choose("weights", get_model_weights(backbone).__members__, weights)


def load_weights(trunk: nn.Module, weights: WeightsEnum) -> None:
    """Fetch torchvision's weights and put them into a trunk; their classifier is left out."""
    state = weights.get_state_dict(progress=False, check_hash=True)
    trunk.load_state_dict({name: state[name] for name in state if not name.startswith("fc.")})


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
