"""Batch normalisation replaced by layers that whiten."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin

from covlayers.functional._base.checks import check_count, check_model, check_not_both
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm
from covlayers.modules.norms.group_whitening import GroupWhitening
from covlayers.modules.norms.running_moments import RunningMoments, Sync, is_group
from covlayers.surgery.batchnorms import Where, picked, with_activation
from covlayers.surgery.hooks import take_hooks
from covlayers.surgery.parameters import take_parameters

LARGEST_AUTO_SIZE = 16
"""Channels of a group that ``group_size="auto"`` makes at most."""
Norm: TypeAlias = RunningMoments | GroupWhitening


def convert_batchnorm(
    model: nn.Module,
    *,
    where: Where = None,
    layer: Callable[..., Norm] = DecorrelatedBatchNorm,
    group_size: int | str | None = None,
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
    :class:`torch.nn.SyncBatchNorm`. The BatchNorm of timm that has a dropout and an activation in
    it becomes a :class:`torch.nn.Sequential` of ``norm``, ``drop`` and ``act``. Any other subclass
    with a forward pass of its own stays, with a warning. A checkpoint of the model with BatchNorms
    loads into the converted model.

    Args:
        model: the model; unchanged if this raises.
        where: which BatchNorms: None for all, a predicate ``(name, module) -> bool``, a pattern of
            ``fnmatch`` for the dotted name, e.g. ``"layer1.*.bn2"``, or ``"stem"``, the first.
        layer: class, or function, to build one from ``num_features`` and options.
            :class:`~covlayers.GroupWhitening` takes weight, bias and ``eps``, has no averages to
            take, and computes something else than the BatchNorm from the start.
        group_size: channels :math:`c \ge 1` per group, which makes ``num_groups`` :math:`C/c`; a
            layer with fewer channels has one group. ``"auto"`` takes for each layer the largest
            divisor of its channels up to 16, e.g. 12 of 24; the printed model shows the numbers of
            groups. None leaves ``num_groups`` to the options.
        **options: of ``layer``; they override what the BatchNorm has.

    Shape:
        - Output: the model, with the same shapes; the new layer where ``model`` is a BatchNorm

    Raises:
        InvalidValueError: if ``where`` picks nothing, or only what stays; if ``group_size`` does
            not divide the channels of a layer or comes with ``num_groups``; for a lazy BatchNorm
            that has seen no batch; and as ``layer`` itself.
        InvalidTypeError: for a ``model``, ``where`` or ``layer`` of a wrong type, and as ``layer``
            itself.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.ReLU())
        >>> model = convert_batchnorm(model, where="stem", group_size=16)
        >>> model[1].num_groups
        4
        >>> convert_batchnorm(nn.BatchNorm2d(24), group_size="auto").num_groups
        2

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
    if isinstance(group_size, str) and group_size != "auto":
        raise InvalidValueError(f"group_size must be an int, 'auto' or None, got {group_size!r}.")
    if not (group_size is None or isinstance(group_size, str)):
        check_count("group_size", group_size)
    new: dict[nn.Module, nn.Module] = {}
    for name, bn in picked(where, model).items():
        if bn not in new:
            new[bn] = with_activation(_converted(name, bn, layer, group_size, options), bn)
            take_hooks(new[bn], bn)
    if model in new:
        return new[model]
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module in new:
            model.set_submodule(name, new[module])
    return model


@torch.no_grad()
def _converted(
    name: str,
    bn: _BatchNorm,
    layer: Callable[..., Norm],
    group_size: int | str | None,
    options: dict[str, Any],
) -> Norm:
    if isinstance(bn, LazyModuleMixin) and bn.num_features == 0:
        raise InvalidValueError(
            f"model must know the channels of {name!r}, got {type(bn).__name__}, which has seen no "
            "batch; run the model once."
        )
    kept: dict[str, Any] = {"eps": bn.eps, "affine": bn.affine}
    if layer is not GroupWhitening:
        kept |= {"momentum": bn.momentum, "track_running_stats": bn.running_mean is not None}
    if group_size is not None:
        options = options | {"num_groups": _groups(name, bn.num_features, group_size)}
    own = next((t for t in (bn.weight, bn.running_mean) if t is not None), None)
    if own is not None:
        kept |= {"device": own.device, "dtype": own.dtype}
    norm = _build(layer, bn.num_features, kept | options)
    take_parameters(norm, bn)
    if not isinstance(norm, RunningMoments):
        return norm.train(bn.training)
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


def _groups(name: str, channels: int, size: int | str) -> int:
    if isinstance(size, str):
        sizes = range(min(LARGEST_AUTO_SIZE, channels), 0, -1)
        size = next(c for c in sizes if channels % c == 0)
    size = min(size, channels)
    if channels % size:
        raise InvalidValueError(
            f"group_size must divide the channels of every layer, got {size} for the {channels} of "
            f"{name!r}; group_size='auto' takes the largest divisor of each up to "
            f"{LARGEST_AUTO_SIZE}."
        )
    return channels // size


def _build(layer: Callable[..., Norm], channels: int, options: dict[str, Any]) -> Norm:
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
    if not isinstance(norm, Norm):
        raise InvalidTypeError(
            "layer must build a norm of this library, got "
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
