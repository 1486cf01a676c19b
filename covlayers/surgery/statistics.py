"""Take the running statistics of a whole model again, or freeze them."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from covlayers.functional._base.checks import check_flag, check_model, check_place
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.modules.norms.running_moments import RunningMoments


@torch.no_grad()
def recalibrate(
    model: nn.Module, loader: Iterable[Any], *, device: torch.device | str | None = None
) -> nn.Module:
    r"""Take the running statistics again, over a loader, in place.

    .. math:: \bar\mu = \tfrac1B \sum_b \mu_b, \qquad \bar\Sigma = \tfrac1B \sum_b \Sigma_b

    over its :math:`B` batches, for weights that no training step has seen: averaged,
    pruned or transferred weights. The norm layers of this library and of torch, frozen layers too,
    run in training mode; the rest of the model runs in evaluation mode, without dropout. A layer
    that no batch reaches keeps its statistics. Modes and momenta come back afterwards; if the
    loader or the model raises, the statistics come back too.

    Args:
        model: the model.
        loader: batches: tensors, or tuples or lists whose first item is the input of the model. In
            training over several processes each must bring equally many.
        device: to move the inputs to; None leaves them.

    Shape:
        - Output: the model, with the same shapes

    Raises:
        InvalidValueError: if the loader is empty, or torch knows no such device.
        InvalidTypeError: if ``model`` is not a module, or ``loader`` no iterable.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> loader = [torch.randn(4, 3, 8, 8) for _ in range(5)]
        >>> recalibrate(model, loader)[1].num_batches_tracked
        tensor(5)

    Reference:
        :func:`torch.optim.swa_utils.update_bn`, which knows the layers of torch alone.
    """
    check_model(model)
    check_place(device, None)
    if not isinstance(loader, Iterable):
        raise InvalidTypeError(
            f"loader must be an iterable of batches, got {type(loader).__name__}; a list of "
            "tensors will do."
        )
    layers = {
        module: module.momentum
        for module in model.modules()
        if isinstance(module, RunningMoments | _BatchNorm) and module.running_mean is not None
    }
    modes = {module: module.training for module in model.modules()}
    frozen = [layer for layer in layers if isinstance(layer, RunningMoments) and layer.frozen]
    states = {layer: {k: v.clone() for k, v in layer.state_dict().items()} for layer in layers}
    restored = list(layers)
    try:
        for module in modes:
            module.training = module in layers
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None
        freeze_stats(model, False)
        _run(model, loader, device)
        restored = [layer for layer in layers if layer.num_batches_tracked == 0]
    finally:
        for layer in restored:
            layer.load_state_dict(states[layer])
        for layer, momentum in layers.items():
            layer.momentum = momentum
        for module in frozen:
            module.frozen = True
        for module, mode in modes.items():
            module.training = mode
        for layer in layers:
            layer.train(modes[layer])  # has a matrix for evaluation ready
    return model


def _run(model: nn.Module, loader: Iterable[Any], device: torch.device | str | None) -> None:
    batch = None
    for batch in loader:
        x = batch[0] if isinstance(batch, tuple | list) else batch
        model(x if device is None else x.to(device))
    if batch is None:
        raise InvalidValueError(
            "loader must have at least one batch, got none; an iterator that has run out needs to "
            "be made again."
        )


def freeze_stats(model: nn.Module, frozen: bool = True) -> nn.Module:
    """Use the running statistics in training mode too, and leave them as they are, in place.

    For fine-tuning with small batches. Weight and bias go on learning; the layers of torch are
    left alone.

    Args:
        model: the model.
        frozen: False to undo it.

    Shape:
        - Output: the model, with the same shapes

    Raises:
        InvalidTypeError: if ``model`` is not a module, or ``frozen`` not a bool.

    Example:
        >>> freeze_stats(nn.Sequential(IterNorm(8)))[0].frozen
        True
    """
    check_model(model)
    check_flag("frozen", frozen)
    for module in model.modules():
        if isinstance(module, RunningMoments):
            module.frozen = frozen
    return model
