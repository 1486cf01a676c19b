"""The BatchNorms of a model: which a layer may replace, and what comes with them."""

import warnings
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from fnmatch import fnmatchcase
from typing import TypeAlias

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError

Where: TypeAlias = str | Callable[[str, nn.Module], bool] | None
"""Which layers: a pattern, ``"stem"``, a predicate of name and module, or None for all."""


def picked(where: Where, model: nn.Module) -> dict[str, _BatchNorm]:
    """The BatchNorms that ``where`` picks, by name, less those that do more than normalise.

    Raises:
        InvalidValueError: if none is left.
        InvalidTypeError: if ``where`` is neither None nor a pattern nor a predicate.
    """
    if not (where is None or isinstance(where, str) or callable(where)):
        raise InvalidTypeError(
            "where must be None, a pattern or a predicate (name, module) -> bool, "
            f"got {type(where).__name__}."
        )
    found = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _BatchNorm)
    }
    if where is None:
        names = list(found)
    elif where == "stem":
        names = list(found)[:1]
    elif isinstance(where, str):
        names = [name for name in found if fnmatchcase(name, where)]
    else:
        names = [name for name, module in found.items() if where(name, module)]
    if not names:
        raise InvalidValueError(
            f"where must pick at least one BatchNorm, got {where!r}; the model has {list(found)}, "
            "all of which None picks."
        )
    left = {name: type(found[name]).__name__ for name in names if not _replaceable(found[name])}
    if len(left) == len(names):
        raise InvalidValueError(
            f"where must pick a BatchNorm whose class only normalises, got {where!r}, which picks "
            f"{left}, whose forward passes do more; model.set_submodule(name, layer) replaces one."
        )
    if left:
        warnings.warn(
            f"{len(left)} of the {len(names)} BatchNorms stay, as the forward passes of their "
            f"classes do more than normalise: {left}. Replace them by model.set_submodule(name, "
            "layer), or pick others by where.",
            stacklevel=3,
        )
    return {name: found[name] for name in names if name not in left}


def _only_normalises(bn: _BatchNorm) -> bool:
    return type(bn).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward)


def _has_activation(bn: _BatchNorm) -> bool:
    """Whether it is a BatchNorm of timm, which goes on with a dropout and an activation."""
    return {name for name, _ in bn.named_children()} == {"drop", "act"}


def _replaceable(bn: _BatchNorm) -> bool:
    return _only_normalises(bn) or _has_activation(bn)


def with_activation(norm: nn.Module, bn: _BatchNorm) -> nn.Module:
    """A layer, then the dropout and the activation of the BatchNorm that it replaces, if any.

    A checkpoint may have the tensors of the layer under its own name or the BatchNorm's.
    """
    if _only_normalises(bn):
        return norm
    layers = OrderedDict(norm=norm, drop=bn.get_submodule("drop"), act=bn.get_submodule("act"))
    together = nn.Sequential(layers)
    together.training = bn.training
    together.register_load_state_dict_pre_hook(_rename)
    return together


def _rename(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *_: object) -> None:
    """Give the tensors of a BatchNorm to the layer in its place."""
    for name in [key for key in state if key.startswith(prefix)]:
        leaf = name.removeprefix(prefix)
        if "." not in leaf:
            state[f"{prefix}norm.{leaf}"] = state.pop(name)
