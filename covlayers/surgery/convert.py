"""Batch normalisation replaced by layers that whiten."""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

from covlayers.functional._base.checks import check_count, check_model, check_not_both, groups_of
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm
from covlayers.modules.norms.running_moments import RunningMoments, Sync, is_group
from covlayers.surgery.hooks import take_hooks
from covlayers.surgery.parameters import take_parameters

Where: TypeAlias = str | Callable[[str, nn.Module], bool] | None
"""Which layers: a pattern, ``"stem"``, a predicate of name and module, or None for all."""


def convert_batchnorm(
    model: nn.Module,
    *,
    where: Where = None,
    layer: Callable[..., RunningMoments] = DecorrelatedBatchNorm,
    group_size: int | None = None,
    **options: Any,
) -> nn.Module:
    r"""Replace batch normalisation by a layer that whitens, in place.

    A layer starts as the BatchNorm that it replaces: with its weight and bias (the very parameters,
    so an optimizer keeps hold of them), its running mean, the running covariance
    :math:`\Sigma := \operatorname{diag}(\sigma^2)`, its number of batches, ``eps``, momentum,
    device, dtype, mode, process group and hooks. In evaluation the model thereby computes what it
    did, until it is trained. In training an ``eps`` of 1e-5 regularises little: where a batch has
    few positions for its channels, take a larger ``eps``, e.g. 1e-3. One BatchNorm in several
    places becomes one layer.

    The function replaces :class:`torch.nn.BatchNorm1d`, ``2d``, ``3d`` and
    :class:`torch.nn.SyncBatchNorm`. A subclass with a forward pass of its own stays, because it
    does more than normalise.

    Args:
        model: the model; unchanged if this raises.
        where: which BatchNorms: None for all, a predicate ``(name, module) -> bool``, a pattern of
            ``fnmatch`` for the dotted name, e.g. ``"layer1.*.bn2"``, or ``"stem"``, the first.
        layer: class, or function, to build one from ``num_features`` and options.
        group_size: channels :math:`c \ge 1` per group, which makes ``num_groups`` :math:`C/c`; a
            layer with fewer channels has one group. None leaves ``num_groups`` to the options.
        **options: of ``layer``; they override what the BatchNorm has.

    Shape:
        - Output: the model, with the same shapes; the new layer where ``model`` is a BatchNorm

    Raises:
        InvalidValueError: if ``where`` picks nothing; if ``group_size`` does not divide the
            channels of a layer or comes with ``num_groups``; for a lazy BatchNorm that has seen no
            batch; and as ``layer`` itself.
        InvalidTypeError: for a ``model``, ``where`` or ``layer`` of a wrong type, and as ``layer``
            itself.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU())
        >>> model = convert_batchnorm(model, where="stem", group_size=16)
        >>> model[1].num_groups
        4

    Reference:
        :cite:t:`huang2018decorrelated`.
    """
    check_model(model)
    if not callable(layer) or isinstance(layer, nn.Module):
        raise InvalidTypeError(
            "layer must be a class or a function that builds a layer, "
            f"got {type(layer).__name__}; write layer=IterNorm, with its options beside it."
        )
    check_not_both("group_size", group_size, "num_groups", options.get("num_groups"))
    if group_size is not None:
        check_count("group_size", group_size)
    found = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _BatchNorm) and _only_normalises(module)
    }
    new: dict[nn.Module, RunningMoments] = {}
    for name in _picked(where, found):
        if found[name] not in new:
            new[found[name]] = _converted(name, found[name], layer, group_size, options)
            take_hooks(new[found[name]], found[name])
    for name, module in found.items():
        if module is model and module in new:
            return new[module]
        if module in new:
            model.set_submodule(name, new[module])
    return model


def _only_normalises(module: _BatchNorm) -> bool:
    return type(module).forward in (_BatchNorm.forward, nn.SyncBatchNorm.forward)


def _picked(where: Where, found: dict[str, _BatchNorm]) -> list[str]:
    if not (where is None or isinstance(where, str) or callable(where)):
        raise InvalidTypeError(
            "where must be None, a pattern or a predicate (name, module) -> bool, "
            f"got {type(where).__name__}."
        )
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
    return names


@torch.no_grad()
def _converted(
    name: str,
    bn: _BatchNorm,
    layer: Callable[..., RunningMoments],
    group_size: int | None,
    options: dict[str, Any],
) -> RunningMoments:
    C = bn.num_features
    if isinstance(bn, LazyModuleMixin) and C == 0:
        raise InvalidValueError(
            f"model must know the channels of {name!r}, got {type(bn).__name__}, which has seen no "
            "batch; run the model once."
        )
    kept: dict[str, Any] = {
        "eps": bn.eps,
        "momentum": bn.momentum,
        "affine": bn.affine,
        "track_running_stats": bn.running_mean is not None,
    }
    if group_size is not None:
        of_layer = f"group_size of the layer {name!r}"
        options = options | {"num_groups": groups_of(min(group_size, C), C, of_layer)}
    own = next((t for t in (bn.weight, bn.running_mean) if t is not None), None)
    if own is not None:
        kept |= {"device": own.device, "dtype": own.dtype}
    norm = _build(layer, C, kept | options)
    take_parameters(norm, bn)
    if bn.running_mean is not None and norm.track_running_stats:
        averages = bn.state_dict()
        variances = averages["running_var"].view(norm.num_groups, -1)
        norm.running_mean.copy_(averages["running_mean"])
        norm.running_cov.copy_(torch.diag_embed(variances))
        norm.num_batches_tracked.copy_(averages["num_batches_tracked"])
        norm.track_running_stats = bn.track_running_stats  # which may have been set later
    group = getattr(bn, "process_group", None)
    if group is not None and "sync" not in options:
        norm.sync = group
    return norm.train(bn.training)


def _build(
    layer: Callable[..., RunningMoments], channels: int, options: dict[str, Any]
) -> RunningMoments:
    name = getattr(layer, "__name__", type(layer).__name__)
    try:
        norm = layer(channels, **options)
    except InvalidTypeError:
        raise
    except TypeError as error:
        raise InvalidTypeError(
            f"layer must take num_features and the options {list(options)}, got {name}, which "
            f"says: {error}; correct the options, or take them all in a function of your own."
        ) from error
    if not isinstance(norm, RunningMoments):
        raise InvalidTypeError(
            "layer must build a layer with running averages of mean and covariance, got "
            f"{type(norm).__name__} from {name}; DecorrelatedBatchNorm is one."
        )
    return norm


def convert_sync(model: nn.Module, process_group: Sync = None) -> nn.Module:
    """Let the layers of this library take their statistics over all processes, in place.

    Layers do so by default (``sync="auto"``); this is for layers that were built otherwise, and for
    another process group. For the BatchNorms of torch there is
    :meth:`torch.nn.SyncBatchNorm.convert_sync_batchnorm`, which leaves these layers alone.

    Args:
        model: the model.
        process_group: a ``torch.distributed.ProcessGroup``; None for the default group, where
            there is one.

    Shape:
        - Output: the model, with the same shapes

    Raises:
        InvalidTypeError: if ``model`` is not a module, or ``process_group`` no process group.

    Example:
        >>> convert_sync(IterNorm(8, sync=False)).sync
        'auto'
    """
    check_model(model)
    if not (process_group is None or is_group(process_group)):
        raise InvalidTypeError(
            "process_group must be a torch.distributed.ProcessGroup, or None for the default one, "
            f"got {process_group!r}; a layer takes other words, e.g. layer.sync = False."
        )
    sync = "auto" if process_group is None else process_group
    for module in model.modules():
        if isinstance(module, RunningMoments):
            module.sync = sync
    return model
