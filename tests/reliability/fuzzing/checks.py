"""Whether a drawn call does what is promised."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from tests.reliability.fuzzing.calls import Call, arrays, noise, rounding
from tests.reliability.fuzzing.references import norms

VECTORS = ("mean", "v")
ALONE = 3
"""How many matrices of a batch are tried alone."""


def memory(x: Tensor) -> Tensor:
    """All bytes that lie under a tensor."""
    return torch.empty(0, dtype=torch.uint8).set_(x.untyped_storage()).clone()


def weights_of(y: Tensor, batch: tuple[int, ...]) -> Tensor:
    """A gradient of norm 1 for each of a batch."""
    each = y.shape[len(batch) :]
    waves = torch.sin(1 + 2.3 * torch.arange(each.numel(), dtype=torch.float64))
    return (waves / max(each.numel(), 1) ** 0.5).reshape(each).to(y.dtype).expand(y.shape)


def differentiated(
    call: Call, tensors: Mapping[str, Tensor], batch: tuple[int, ...]
) -> tuple[list[Tensor], list[Tensor]]:
    """The outputs and the gradients of all inputs."""
    leaves = {name: x.detach().requires_grad_() for name, x in tensors.items()}
    outputs = call.run(leaves)
    weights = [weights_of(y, batch).to(call.setting.dtype).to(y.dtype) for y in outputs]
    grads = torch.autograd.grad(outputs, list(leaves.values()), weights)
    return [y.detach() for y in outputs], list(grads)


def problem(call: Call, shares: list[float]) -> str:
    """What is promised and was not done; empty if all was. Keeps errors as shares of bounds."""
    try:
        return "; ".join(problems(call, shares))
    except Exception as error:  # whatever it is, it is judged
        return "" if type(error) is call.refused else f"raises {type(error).__name__}: {error}"


def problems(call: Call, shares: list[float]) -> Iterator[str]:
    if call.refused is not None:
        call.run(call.tensors)  # there, not in the backward pass
        yield f"does not raise {call.refused.__name__}"
        return
    inputs = call.tensors.values()
    before = [memory(x) for x in inputs]
    outputs, grads = differentiated(call, call.tensors, call.setting.batch)
    if not all(torch.equal(memory(x), old) for x, old in zip(inputs, before, strict=True)):
        yield "writes its input"
    dtype = call.setting.dtype
    shapes = (*call.shapes, *(tuple(x.shape) for x in inputs))
    for y, shape in zip((*outputs, *grads), shapes, strict=True):
        if (tuple(y.shape), y.dtype) != (tuple(shape), dtype):
            yield f"gives {tuple(y.shape)} {y.dtype} for {tuple(shape)} {dtype}"
            return
    for what, parts in (("a value", outputs), ("a gradient", grads)):
        if not all(y.isfinite().all() for y in parts):
            yield f"has {what} that is not finite"
            return
    yield from off(call, outputs, shares)
    if call.symmetric is not None:
        yield from asymmetric(call, grads)
    if call.setting.half:
        yield from not_rounded_once(call, outputs, grads)
    yield from not_alone(call, grads)


def off(call: Call, outputs: list[Tensor], shares: list[float]) -> Iterator[str]:
    """The claims that do not hold."""
    for one in call.claims(*arrays(outputs)):
        error = norms(one.actual - one.expected, one.dims)
        share = float(np.max(error / np.maximum(one.bound, 1e-300), initial=0.0))
        if not np.all(error <= one.bound):
            yield f"is off by {error.max():.1e}, {share:.1f} times what rounding allows"
        shares.append(share)


def asymmetric(call: Call, grads: list[Tensor]) -> Iterator[str]:
    """Gradients of symmetric matrices that are not symmetric up to rounding."""
    for g in arrays(grads):
        bound = noise(call.setting, g.shape[-1]) + 2 * rounding(call.setting)
        if not np.all(norms(g - g.swapaxes(-1, -2)) <= bound * (norms(g) + call.symmetric)):
            yield "has a gradient that is not symmetric"


def not_rounded_once(call: Call, outputs: list[Tensor], grads: list[Tensor]) -> Iterator[str]:
    """Half results that are not those in float32, rounded."""
    raised = {name: x.float() for name, x in call.tensors.items()}
    expected = differentiated(call, raised, call.setting.batch)
    for what, mine, theirs in zip(("value", "gradient"), (outputs, grads), expected, strict=True):
        if not all(torch.equal(a, b.to(a.dtype)) for a, b in zip(mine, theirs, strict=True)):
            yield f"has a {what} that is not the rounded one in float32"


def not_alone(call: Call, grads: list[Tensor]) -> Iterator[str]:
    """Matrices whose value or gradient is another without their neighbours."""
    batch, inputs = call.setting.batch, call.tensors
    for index in [*np.ndindex(batch)][:ALONE] if batch else []:
        own = {name: one_of(batch, x, name in VECTORS)[index] for name, x in inputs.items()}
        outputs, alone = differentiated(call, own, ())
        whole = [np.zeros((*batch, *y.shape)) for y in outputs]
        for y, one in zip(whole, arrays(outputs), strict=True):
            y[index] = one
        for one in call.claims(*whole):
            error = norms(one.actual - one.expected, one.dims)[index]
            if not error <= np.broadcast_to(one.bound, batch)[index]:
                yield f"is off by {error:.1e} alone"
        if call.slope is None:
            continue
        bound = noise(call.setting, max(*alone[0].shape, 1)) * np.broadcast_to(call.slope, batch)
        for g, one in zip(grads, alone, strict=True):
            if g.dim() == one.dim() + len(batch):  # else it is a sum over the batch
                a, b = arrays([g[index], one])
                error, size = (norms(z, b.ndim) for z in (a - b, b))
                if not error <= bound[index] + 2 * rounding(call.setting) * size:
                    yield f"has a gradient that is off by {error:.1e} of {size:.1e} alone"


def one_of(batch: tuple[int, ...], x: Tensor, vector: bool) -> Tensor:
    """What is to be indexed to have one of the batch."""
    return x.expand(*batch, *x.shape[x.dim() - (1 if vector else 2) :])
