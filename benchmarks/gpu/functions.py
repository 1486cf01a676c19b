"""The matrix functions beside the published ones, with the errors of both."""

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from benchmarks.cells import Cell, peers
from benchmarks.gpu.processes import OK
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.gpu.timing import side_by_side
from benchmarks.measure import Problem, Row, relative_error, symmetric, worst
from benchmarks.published import PUBLISHED, mpa
from covlayers import functional as F

BATCHES = {64: 1024, 16: 4096, 128: 256, 256: 64, 512: 16}
FUNCTIONS = ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm")
CONDITION = 1e4
SEED = 0


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
    problem = Problem.random(
        function, n, batch, condition=CONDITION, seed=SEED, device=setting.device
    )
    cells = {cell.method: cell for cell in sides(function)}
    runs = {name: partial(problem.values_and_gradient, cell.run) for name, cell in cells.items()}
    for row in side_by_side(runs, setting):
        if row["status"] == OK:
            row |= errors(problem, runs[row["what"]])
        yield {"shape": [batch, n, n], **row}


def errors(problem: Problem, step: Callable[[], tuple[tuple[Tensor, ...], Tensor]]) -> Row:
    """Of values and gradient, against float64."""
    outputs, gradient = step()
    return {
        "value_error": worst(map(relative_error, outputs, problem.values)),
        "gradient_error": relative_error(symmetric(gradient), problem.gradient),
    }


def sides(function: str) -> Iterator[Cell]:
    """What is compared; the library by the function's own name."""
    yield Cell(function, "default", getattr(F, function))
    if function == "sqrtm_and_invsqrtm":
        yield Cell("published MPA", "8 sign steps", both_by_mpa, "peer")
    built_in = "torch.linalg.matrix_sqrth"
    names = {"published MPA", "published iSQRT-COV", "published IterNorm", built_in}
    names &= {built_in, *(name for name, *_ in PUBLISHED.get(function, ()))}
    yield from (cell for cell in peers(function) if cell.method in names)


def both_by_mpa(A: Tensor) -> tuple[Tensor, Tensor]:
    """The published root and the published inverse root."""
    return mpa(A), mpa(A, inverse=True)
