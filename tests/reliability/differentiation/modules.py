"""Derivatives of every module, in forward mode and of many losses at once."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from tests.built import BATCH_NORMS, sample, trained
from tests.reliability.rows import Row
from tests.reliability.tally import Tally

# In training one Function for the whole layer, which keeps little and has neither.
ONE_FUNCTION = set(BATCH_NORMS) - {"SwitchableWhitening"}
# The fused attention of torch has no forward mode.
NO_FORWARD_MODE = {
    *("AttentiveTemporalCovPool video", "AttentiveTemporalCovPool frame"),
    "TemporalSpatialAttention",
}
BOUND = 1e-8


def module_rows(area: str, names: Sequence[str]) -> Iterator[Row]:
    forward, batched = Tally(), Tally()
    for name in names:
        for training in (True, False):
            torch.manual_seed(0)
            module = trained(name, dtype=torch.float64).train(training)
            x = sample(name, 4).double()
            one = training and name in ONE_FUNCTION
            told = f"{name}, {'training' if training else 'evaluation'}"
            refuses = one or name in NO_FORWARD_MODE
            forward.add(told, judged(off_gradient, module, x, refuses), BOUND)
            refuses = one or name == "GroupWhitening"
            batched.add(told, judged(off_one_by_one, module, x, refuses), BOUND)
    what = "modules, forward mode: the gradient of the same, or torch's error"
    yield forward.row(area, what, f"{BOUND:.0e}")
    what = "modules, gradients of a batch of losses: one by one, or torch's error"
    yield batched.row(area, what, f"{BOUND:.0e}")


def judged(
    error: Callable[[nn.Module, Tensor], float], module: nn.Module, x: Tensor, refuses: bool
) -> float:
    """The error; none of one that is known to refuse, and does."""
    try:
        found = error(deepcopy(module), x)
    except RuntimeError:  # NotImplementedError among them
        return 0.0 if refuses else torch.inf
    return torch.inf if refuses else found


def off_gradient(module: nn.Module, x: Tensor) -> float:
    """By how much <dy, g> and <dx, gradient for g> differ, of the norms of all four."""
    dx, leaf = waves(x, 1), x.clone().requires_grad_()
    y = deepcopy(module)(leaf)
    g = waves(y, 2)
    (gx,) = torch.autograd.grad(y, leaf, g)
    with forward_ad.dual_level():
        dy = forward_ad.unpack_dual(module(forward_ad.make_dual(x, dx))).tangent
    size = dy.norm() * g.norm() + dx.norm() * gx.norm()
    return float((((dy * g).sum() - (dx * gx).sum()).abs() / size).detach())


def off_one_by_one(module: nn.Module, x: Tensor) -> float:
    x = x.clone().requires_grad_()
    y = module(x)
    losses = torch.stack([waves(y, 1), waves(y, 2)])
    single = torch.stack([torch.autograd.grad(y, x, g, retain_graph=True)[0] for g in losses])
    (batched,) = torch.autograd.grad(y, x, losses, is_grads_batched=True)
    return float((batched - single).norm() / single.norm())


def waves(x: Tensor, seed: int) -> Tensor:
    return torch.sin(seed + torch.arange(x.numel(), dtype=x.dtype) ** 2).view(x.shape)
