"""The cells of the benchmark: what is registered here, and what others offer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module, util

import torch
from torch import Tensor

from benchmarks.published import PUBLISHED
from covlayers import functional as F

Outputs = Tensor | tuple[Tensor, ...]
Run = Callable[[Tensor], Outputs]
EXPONENTS = {"sqrtm": (0.5,), "invsqrtm": (-0.5,), "sqrtm_and_invsqrtm": (0.5, -0.5)}
EXACT = {("eigh", "loewner"), ("eigh", "smith"), ("polar_express", "smith")}


@dataclass(frozen=True)
class Cell:
    """One way to compute a matrix function and to differentiate it.

    Its role is ``own`` for a method with its default rule or an exact one, ``grid`` for one with
    any other rule, ``peer`` for what is not of this library.
    """

    method: str
    backward: str
    run: Run
    role: str = "own"


def registered_cells(function: str, *, grid: bool) -> Iterator[Cell]:
    """Every method with its default rule and the exact ones, or with every rule.

    ``auto``, which only picks one, comes once with its own choice.
    """
    compute = getattr(F, function)
    yield Cell("auto", "default", compute)
    for name, method in F.METHODS.items():
        for backward in F.BACKWARDS if name != "auto" else ():
            own = backward == method.default_backward or (name, backward) in EXACT
            if own or grid:
                run = partial(compute, method=name, backward=backward)
                yield Cell(name, backward, run, "own" if own else "grid")


def peers(function: str) -> Iterator[Cell]:
    """What PyTorch offers, what a library for such matrices does, what the papers publish."""
    exponents = EXPONENTS[function]
    yield Cell("torch.linalg.eigh", "autograd", partial(eigh_powers, exponents=exponents), "peer")
    if function == "sqrtm":
        absent = missing(f"torch {torch.__version__} does not have it")
        built_in: Run = getattr(torch.linalg, "matrix_sqrth", absent)
        yield Cell("torch.linalg.matrix_sqrth", "built in", built_in, "peer")
    if len(exponents) == 1:
        yield Cell("spd_learn", "built in", spd_learn(function), "peer")
    for method, backward, run in PUBLISHED.get(function, ()):
        yield Cell(method, backward, run, "peer")


def eigh_powers(A: Tensor, *, exponents: tuple[float, ...]) -> tuple[Tensor, ...]:
    """What one writes by hand."""
    values, vectors = torch.linalg.eigh(A)
    return tuple((vectors * values.pow(p)[..., None, :]) @ vectors.mT for p in exponents)


def spd_learn(function: str) -> Run:
    """The function of that library."""
    if util.find_spec("spd_learn") is None:
        return missing("spd_learn is not installed: pip install covlayers[bench]")
    name = {"sqrtm": "matrix_sqrt", "invsqrtm": "matrix_inv_sqrt"}[function]
    return getattr(import_module("spd_learn.functional"), name).apply


def pyriemann(function: str) -> Run:
    """The function of that library."""
    if util.find_spec("pyriemann") is None:
        return missing("pyriemann is not installed: pip install covlayers[bench]")
    run: Run = getattr(import_module("pyriemann.geometry.base"), function)
    return run


def missing(why: str) -> Run:
    """Stands in for a function that is not there."""

    def skipped(A: Tensor) -> Tensor:
        raise NotImplementedError(f"skipped, as {why}")

    return skipped
