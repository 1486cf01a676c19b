"""The scale and the shift of a BatchNorm go on to the layer in its place."""

from torch import nn
from torch.nn.utils import parametrize, prune


def take_parameters(new: nn.Module, old: nn.Module) -> None:
    """Let a layer have the very parameters, pruned or parametrized as they are.

    The hook that applies a mask is one of the hooks, see :func:`~.hooks.take_hooks`.
    """
    for name in ("weight", "bias"):
        if getattr(new, name) is None or getattr(old, name) is None:
            continue
        if parametrize.is_parametrized(old, name):
            parametrize.transfer_parametrizations_and_params(old, new, name)
        elif hasattr(old, f"{name}_mask"):
            delattr(new, name)
            new.register_parameter(f"{name}_orig", old.get_parameter(f"{name}_orig"))
            new.register_buffer(f"{name}_mask", old.get_buffer(f"{name}_mask"))
            setattr(new, name, getattr(old, name))
        else:
            setattr(new, name, getattr(old, name))


def make_masks_permanent(module: nn.Module) -> None:
    """Let a pruned scale or shift be a plain parameter."""
    for name in ("weight", "bias"):
        if hasattr(module, f"{name}_mask"):
            prune.remove(module, name)
