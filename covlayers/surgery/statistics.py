"""Take the running statistics of a whole model again, or freeze them."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from covlayers.functional._base.checks import check_flag, check_model, check_place
from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.modules.norms.running_moments import RunningMoments

Inputs: TypeAlias = str | Callable[[Any], Any] | None
"""Where a batch has the input of a model: a key, a function of the batch, or None."""


@torch.no_grad()
def recalibrate(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    device: torch.device | str | None = None,
    inputs: Inputs = None,
    progress: bool = False,
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
        loader: batches: tensors, or tuples or lists whose first item is the input of the model, or
            others with ``inputs``. In training over several processes each must bring equally many.
        device: to move the inputs to; None leaves them.
        inputs: what of a batch the model takes: a key of batches that are dicts, or a function of a
            batch. Where that gives a dict, the model takes it as keyword arguments.
        progress: whether to count the batches on the standard error stream.

    Shape:
        - Output: the model, with the same shapes

    Raises:
        InvalidValueError: if the loader is empty, torch knows no such device, or a batch has no
            such key.
        InvalidTypeError: if ``model`` is not a module, ``loader`` no iterable, ``inputs`` neither
            a key nor a function, ``progress`` not a bool, or a batch is a dict without ``inputs``.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
        >>> loader = [torch.randn(4, 3, 8, 8) for _ in range(5)]
        >>> recalibrate(model, loader)[1].num_batches_tracked
        tensor(5)
        >>> dicts = [{"image": x, "label": 0} for x in loader]
        >>> recalibrate(model, dicts, inputs="image")[1].num_batches_tracked
        tensor(5)

    Reference:
        :func:`torch.optim.swa_utils.update_bn`, which knows the layers of torch alone.
    """
    check_model(model)
    check_place(device, None)
    check_flag("progress", progress)
    if not (inputs is None or isinstance(inputs, str) or callable(inputs)):
        raise InvalidTypeError(
            "inputs must be a key of the batches, a function of one, or None, "
            f"got {inputs!r}; name the key of what the model takes."
        )
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
        _run(model, _counting(loader) if progress else loader, device, inputs)
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


def _run(
    model: nn.Module, loader: Iterable[Any], device: torch.device | str | None, inputs: Inputs
) -> None:
    batch = None
    for batch in loader:
        x = _input(batch, inputs)
        if isinstance(x, Mapping):
            model(**{name: _moved(value, device) for name, value in x.items()})
        else:
            model(_moved(x, device))
    if batch is None:
        raise InvalidValueError(
            "loader must have at least one batch, got none; an iterator that has run out needs to "
            "be made again."
        )


def _input(batch: Any, inputs: Inputs) -> Any:
    if callable(inputs):
        return inputs(batch)
    has = f"a dict with {list(batch)}" if isinstance(batch, Mapping) else type(batch).__name__
    if isinstance(inputs, str):
        if not (isinstance(batch, Mapping) and inputs in batch):
            raise InvalidValueError(
                f"inputs must be a key of every batch, got {inputs!r} for {has}; pass one that it "
                "has, or a function of a batch."
            )
        return batch[inputs]
    if isinstance(batch, Mapping):
        raise InvalidTypeError(
            "inputs must be a key, or a function of a batch, for batches that are dicts, got None "
            f"for {has}; write inputs= and the key of what the model takes."
        )
    return batch[0] if isinstance(batch, tuple | list) else batch


def _moved(x: Any, device: torch.device | str | None) -> Any:
    return x.to(device) if isinstance(x, Tensor) and device is not None else x


def _counting(loader: Iterable[Any]) -> Iterator[Any]:
    """The batches of a loader, counted on the standard error stream."""
    total = f" of {len(loader)}" if isinstance(loader, Sized) else ""
    for seen, batch in enumerate(loader, 1):
        yield batch
        print(f"\r{seen}{total} batches", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)


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
