"""The error of a result and its gradient in some type, and what a rounding would change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tests.built import waves
from tests.precision.laid_out import Setting

Run = Callable[..., Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Trial:
    """Something that takes tensors; built in a type, it comes with its parameters."""

    name: str
    tensors: Sequence[Tensor]
    build: Callable[[torch.dtype], tuple[Run, list[Tensor]]]
    convolves: bool = False


@dataclass(frozen=True)
class Errors:
    """The errors of one trial in one setting, relative to float64 on the numbers that came.

    Attributes:
        value: its error.
        gradient: the larger error of the gradients of inputs and parameters together.
        moved: what both change by, in float64, when the entries that came change by an ε.
        typed: whether the value has the type that came.
        of_sources: whether each gradient has the type of what it is for.
        finite: whether all is.
    """

    value: float
    gradient: float
    moved: tuple[float, float]
    typed: bool
    of_sources: bool
    finite: bool


def errors(trial: Trial, setting: Setting, eps: float) -> Errors:
    leaves = [setting.laid(x) for x in trial.tensors]
    run, own = trial.build(setting.dtype)
    with setting.casting():
        ys = outputs(run, leaves)
    weights = [waves(y) for y in ys]
    grads = torch.autograd.grad(ys, [*leaves, *own], weights)  # outside, as PyTorch asks
    expected, slopes = in_double(trial, leaves, weights)
    changed = [rounded(leaf, eps) for leaf in leaves]
    moved = map(off, in_double(trial, changed, weights), (expected, slopes))
    return Errors(
        off(ys, expected),
        off(grads, slopes),
        tuple(moved),
        all(y.dtype == setting.dtype for y in ys),
        all(g.dtype == x.dtype for g, x in zip(grads, [*leaves, *own], strict=True)),
        all(bool(x.isfinite().all()) for x in (*ys, *grads)),
    )


def in_double(
    trial: Trial, leaves: Sequence[Tensor], weights: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The value and the gradients."""
    run, own = trial.build(torch.float64)
    wide = [leaf.detach().double().contiguous().requires_grad_() for leaf in leaves]
    ys = outputs(run, wide)
    return ys, torch.autograd.grad(ys, [*wide, *own], [weight.double() for weight in weights])


def rounded(x: Tensor, eps: float) -> Tensor:
    """Each entry off by ε of it, up or down; a symmetric matrix stays one."""
    change = waves(x).double().sign() * eps
    if x.shape[-1] == x.shape[-2]:
        change = change.tril() + change.tril(-1).mT
    return x.detach().double() * (1 + change)


def outputs(run: Run, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    y = run(*tensors)
    return (y,) if isinstance(y, Tensor) else y


def off(actual: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    a, b = (torch.cat([x.detach().double().flatten() for x in xs]) for xs in (actual, expected))
    return float((a - b).norm() / b.norm())
