"""Batches of no matrix, no sample, no channel or no position."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from covlayers import functional as F
from tests.built import BATCH_NORMS, MODULES, NORMS, sample
from tests.reliability.bad_inputs.calls import GOOD, tensors_of
from tests.reliability.bad_inputs.not_finite import Outcome
from tests.reliability.bad_inputs.refusals import same_state, state

OF_MATRICES = ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm", "logm", "powm", "eigh", "shrink")


def of_functions() -> Iterator[Outcome]:
    """An empty result of the right shape, and an empty gradient."""
    for function, given in GOOD.items():
        tensors = tensors_of(function)
        full = outputs(function, given)
        inputs = {name: x[:0].clone().requires_grad_() for name, x in tensors.items()}
        yield f"{function}: no matrix", empty_like(function, given | inputs, full)
        if function in OF_MATRICES:
            inputs = {"A" if "A" in tensors else "cov": torch.empty(2, 0, 0, requires_grad=True)}
            full = tuple(x.new_empty(x.shape[:1] + (0,) * (x.dim() - 1)) for x in full)
            yield f"{function}: no row", empty_like(function, given | inputs, full, matrices=2)


def outputs(function: str, given: dict[str, object]) -> tuple[Tensor, ...]:
    """What a function returns, as a tuple."""
    y = getattr(F, function)(**given)
    return y if isinstance(y, tuple) else (y,)


def empty_like(
    function: str, given: dict[str, object], full: tuple[Tensor, ...], matrices: int = 0
) -> bool:
    """Whether outputs have these shapes but for the batch, and a gradient reaches the inputs."""
    got = outputs(function, given)
    sum(y.sum() for y in got).backward()
    shapes = [(matrices, *y.shape[1:]) for y in full]
    inputs = [x for x in given.values() if isinstance(x, Tensor)]
    reached = all(x.grad is not None and x.grad.shape == x.shape for x in inputs)
    return reached and [tuple(y.shape) for y in got] == shapes


def of_modules() -> Iterator[Outcome]:
    """No sample, in training and in evaluation, or no position where a layer wants none."""
    for name, build in MODULES.items():
        module, x = build(), sample(name)
        full = module(x)
        for empty in empties(name, x):
            kept = empty.shape if full.shape == x.shape else (0, *full.shape[1:])
            for mode in (True, False):
                held, z = state(module.train(mode)), empty.requires_grad_()
                outcome = gives(module, z, kept)
                if name in BATCH_NORMS:
                    outcome = outcome and same_state(held, state_of(module, held))
                yield f"{name}: {tuple(empty.shape)}, training={mode}", outcome


def gives(module: nn.Module, x: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether the output has this shape, and a gradient reaches the input."""
    x.grad = None
    try:
        y = module(x)
        y.sum().backward()
    except Exception:  # whatever it is, it is none of what is promised
        return False
    return y.shape == shape and x.grad is not None and x.grad.shape == x.shape


def empties(name: str, x: Tensor) -> Iterator[Tensor]:
    """The empty inputs of a module."""
    yield x[:0]
    if name in NORMS:
        yield x[:0, :, 0]
    takes_one_position = name in NORMS and name != "SwitchableWhitening"
    if takes_one_position:
        yield x[:0, :, 0, 0]
    if takes_one_position or name.startswith("Temporal"):
        yield x[..., :0]


def state_of(module: nn.Module, held: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same part of the state, without gradients that are new."""
    return {name: tensor for name, tensor in state(module).items() if name in held}
