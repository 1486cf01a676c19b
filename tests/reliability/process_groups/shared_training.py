"""What one process does with batches and several with their shards, to equal results."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from functools import partial
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

import covlayers
from covlayers.functional._batch import collective, products
from covlayers.functional._batch.collective import all_sum
from covlayers.modules.norms import switchable_whitening
from tests.distributed.parity import Case, Result, network, train

Trial = Callable[[nn.Module, Case, slice], Result]
SAMPLES = 8  # of a batch
MICRO_BATCHES = 3


def restored(case: Case, folder: str) -> nn.Module:
    """The network of a case, from the checkpoint that one process has written."""
    model = network(case)
    model.load_state_dict(torch.load(f"{folder}/{case.layer}.pt", weights_only=True))
    if case.compiled:
        torch._dynamo.reset()
        model[1].compile(fullgraph=True, backend="aot_eager", dynamic=False)
    return model


def shares(model: nn.Module, part: slice, number: int) -> Iterator[tuple[Tensor, Tensor]]:
    """This part of some batches, and weights for what the network makes of it."""
    dtype = next(model.parameters()).dtype
    generator = torch.Generator().manual_seed(3)
    for _ in range(number):
        x = 2 + torch.randn(SAMPLES, 3, 7, 7, generator=generator).to(dtype)[part]
        weights = torch.randn(SAMPLES, 2, 3, 3, generator=generator).to(dtype)[part]
        yield x.requires_grad_(), weights


def frozen(model: nn.Module, case: Case, part: slice) -> Result:
    """Training with the running averages as they are."""
    return train(covlayers.freeze_stats(model), case, part)


def accumulated(model: nn.Module, case: Case, part: slice) -> Result:
    """Gradients of several micro-batches, reduced over the processes with the last one."""
    several = isinstance(model, DistributedDataParallel)
    processes = dist.get_world_size() if several else 1
    result: Result = {}
    for i, (x, weights) in enumerate(shares(model, part, MICRO_BATCHES)):
        with model.no_sync() if several and i < MICRO_BATCHES - 1 else nullcontext():
            y = model(x)
            (processes * (weights * y).sum()).backward()
        result |= {f"output {i}": y.detach(), f"input gradient {i}": x.grad / processes}
    for i, parameter in enumerate(model.parameters()):
        result[f"parameter gradient {i}"] = parameter.grad
    return result | running(model)


def checkpointed(model: nn.Module, case: Case, part: slice) -> Result:
    """Training in which the layer runs again in the backward pass."""
    norm = unwrapped(model)[1]
    again = partial(checkpoint, norm.forward, use_reentrant=False)
    with patch.object(norm, "forward", again):
        return train(model, case, part)


def penalised(model: nn.Module, case: Case, part: slice) -> Result:
    """Gradients of the squared gradient, reduced by hand: a second derivative."""
    model = unwrapped(model)
    ((x, weights),) = shares(model, part, 1)
    (grad,) = torch.autograd.grad((weights * model(x)).sum(), x, create_graph=True)
    grad.square().sum().backward()
    result: Result = {"output": grad.detach(), "input gradient": gradient(x)}
    for i, parameter in enumerate(model.parameters()):
        result[f"parameter gradient {i}"] = gradient(parameter)
        if dist.is_initialized():
            dist.all_reduce(result[f"parameter gradient {i}"])
    return result


def gradient(leaf: Tensor) -> Tensor:
    """Zero where there is none: an empty batch gives none to the weight of a convolution."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def averages_of_averages(model: nn.Module, case: Case, part: slice) -> Result:
    """Training by means of means and of squares that weigh every process alike."""
    with ExitStack() as stack:
        for module in (products, switchable_whitening):
            stack.enter_context(patch.object(module, "joint_moments", _averaged))
        return train(model, case, part)


def _averaged(
    count: Tensor, mean: Tensor, scatter: Tensor, group: str | None
) -> tuple[Tensor, Tensor, Tensor]:
    processes = 1 if group is None else dist.get_world_size()
    wide = mean.double()
    squares = scatter.double() / count.clamp_min(1) + collective.outer(wide)
    wide = all_sum(wide, group) / processes
    cov = all_sum(squares, group) / processes - collective.outer(wide)
    return all_sum(count, group), wide.to(mean.dtype), cov.to(scatter.dtype)


def unwrapped(model: nn.Module) -> nn.Module:
    """The network itself."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def running(model: nn.Module) -> Result:
    """The running averages."""
    state = unwrapped(model).state_dict()
    return {name: value for name, value in state.items() if "running" in name}


def described(model: nn.Module) -> Result:
    """The state, and what the network makes of a batch in evaluation."""
    model = unwrapped(model).eval()
    ((x, _),) = shares(model, slice(None), 1)
    y = model(x).detach()
    return {**model.train().state_dict(), "evaluation": y}


def written(model: nn.Module, case: Case, part: slice) -> Result:
    """The state after some more training, as a checkpoint has it, and its evaluation."""
    train(model, case, part)
    return described(model)
