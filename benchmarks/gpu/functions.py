"""The matrix functions beside the published ones, with the errors of both.

A batch repeats a few matrices. A CPU computes their float64 reference in seconds, where the whole
batch would take it a minute. No time depends on the values.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from benchmarks.cells import Cell, peers
from benchmarks.gpu.processes import OK
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.gpu.timing import side_by_side
from benchmarks.measure import Problem, Row, relative_error, symmetric, worst
from benchmarks.published import mpa
from covlayers import functional as F

BATCHES = {64: 1024, 16: 4096, 128: 256, 256: 64, 512: 16}
FUNCTIONS = ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm")
CONDITION = 1e4
SEED = 0
DISTINCT_ROWS = 1024


def cases(setting: Setting) -> Cases:
    """Every function of every size."""
    return {
        f"{function} of {batch} x {n}²": partial(beside, function, n, batch, setting)
        for n, batch in BATCHES.items()
        for function in FUNCTIONS
    }


def beside(function: str, n: int, batch: int, setting: Setting) -> Iterator[Row]:
    """The rows of this library, of the published cells, and of what torch has built in."""
    n, batch = (max(4, n // 32), 2) if setting.quick else (n, batch)
    problem = repeated(function, n, batch, setting.device)
    cells = {cell.method: cell for cell in sides(function)}
    runs = {name: partial(problem.values_and_gradient, cell.run) for name, cell in cells.items()}
    for row in side_by_side(runs, setting):
        if row["status"] == OK:
            row |= errors(problem, runs[row["what"]])
        yield {"shape": [batch, n, n], **row}


def repeated(function: str, n: int, batch: int, device: str) -> Problem:
    """A batch of few different matrices, with the reference of those."""
    few = distinct(n, batch)
    problem = Problem.random(function, n, few, condition=CONDITION, seed=SEED, device="cpu")
    A, *above = (
        x.detach().repeat(batch // few, 1, 1).to(device) for x in (problem.A, *problem.weights)
    )
    return replace(problem, A=A.requires_grad_(), weights=tuple(above))


def distinct(n: int, batch: int) -> int:
    """How many matrices of a batch differ."""
    return min(batch, max(2, DISTINCT_ROWS // n))


def errors(problem: Problem, step: Callable[[], tuple[tuple[Tensor, ...], Tensor]]) -> Row:
    """Of values and gradient, against float64."""
    outputs, gradient = step()
    few = len(problem.gradient)
    return {
        "value_error": worst(
            relative_error(Y[:few], exact) for Y, exact in zip(outputs, problem.values, strict=True)
        ),
        "gradient_error": relative_error(symmetric(gradient[:few]), problem.gradient),
    }


def sides(function: str) -> Iterator[Cell]:
    """What is compared; the library by the function's own name."""
    yield Cell(function, "default", getattr(F, function))
    if function == "sqrtm_and_invsqrtm":
        yield Cell("published MPA", "8 sign steps", both_by_mpa, "peer")
    names = {"published MPA", "published iSQRT-COV", "published IterNorm"}
    if hasattr(torch.linalg, "matrix_sqrth"):
        names.add("torch.linalg.matrix_sqrth")
    yield from (cell for cell in peers(function) if cell.method in names)


def both_by_mpa(A: Tensor) -> tuple[Tensor, Tensor]:
    """The published root and the published inverse root."""
    return mpa(A), mpa(A, inverse=True)
