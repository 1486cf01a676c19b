"""Where a layer keeps its parameters and buffers, and in which dtype."""

from typing import TypedDict

import torch
from torch import nn

from covlayers.functional._base.checks import check_place


class Factory(TypedDict, total=False):
    """The last two options of a layer, as in torch.nn."""

    device: torch.device | str | None
    dtype: torch.dtype | None


def check_factory(layer: nn.Module, factory: Factory) -> None:
    """Raise for a device or a dtype that no layer has, and for an option that is neither."""
    for name in factory:
        if name not in Factory.__annotations__:
            raise TypeError(
                f"{type(layer).__name__}.__init__() got an unexpected keyword argument {name!r}"
            )
    check_place(factory.get("device"), factory.get("dtype"))
