"""Weights of torchvision to start from."""

from torch import nn
from torchvision.models import WeightsEnum, get_model_weights, list_models

from common.checks import choose, require


def find_weights(backbone: str, in_channels: int, weights: str | None) -> WeightsEnum | None:
    """Torchvision's weights of that name, if there is one.

    Raises:
        ValueError: if the backbone has none, or none of that name, or takes other images.
    """
    if weights is None:
        return None
    require(backbone in list_models(), "weights", f"null for backbone {backbone!r}", weights)
    require(in_channels == 3, "in_channels", "3 with weights of torchvision", in_channels)
    return choose("weights", get_model_weights(backbone).__members__, weights)


def load_weights(trunk: nn.Module, weights: WeightsEnum) -> None:
    """Fetch torchvision's weights and put them into a trunk; their classifier is left out."""
    state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    trunk.load_state_dict({name: state[name] for name in state if not name.startswith("fc.")})
