"""The cells of the benchmark, and what is measured of each: time, memory, error."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.benchmark import Measurement, Timer

from covlayers import functional as F

Run = Callable[[Tensor], Tensor]
Row = dict[str, Any]
ROUNDS = 5


@dataclass(frozen=True)
class Cell:
    """One way to compute a matrix function and to differentiate it."""

    method: str
    backward: str
    run: Run


def registered_cells(function: str) -> Iterator[Cell]:
    """Every method with every rule; ``auto``, which only picks one, once with its own choice."""
    compute = getattr(F, function)
    yield Cell("auto", "default", compute)
    for method in F.METHODS:
        for backward in F.BACKWARDS if method != "auto" else ():
            yield Cell(method, backward, partial(compute, method=method, backward=backward))


def peers(function: str) -> Iterator[Cell]:
    """What PyTorch itself offers."""
    exponent = {"sqrtm": 0.5, "invsqrtm": -0.5}[function]
    yield Cell("torch.linalg.eigh", "autograd", partial(eigh_power, exponent=exponent))
    if function == "sqrtm":
        built_in: Run = getattr(torch.linalg, "matrix_sqrth", missing)
        yield Cell("torch.linalg.matrix_sqrth", "built in", built_in)


def eigh_power(A: Tensor, *, exponent: float) -> Tensor:
    """What one writes by hand."""
    values, vectors = torch.linalg.eigh(A)
    return (vectors * values.pow(exponent)[..., None, :]) @ vectors.mT


def missing(A: Tensor) -> Tensor:
    """Stands in for a function that this version of torch does not have."""
    raise NotImplementedError(f"skipped, as torch {torch.__version__} does not have it")


@dataclass(frozen=True)
class Problem:
    """A batch of matrices, the gradient that comes from above, and what should come out."""

    function: str
    A: Tensor
    weight: Tensor
    value: Tensor
    gradient: Tensor

    @classmethod
    def random(
        cls, function: str, n: int, batch: int, *, condition: float, seed: int, device: str
    ) -> "Problem":
        """The same float32 matrices on every device, with their float64 reference on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        A = spd(n, batch, condition, generator).float()
        weight = symmetric(torch.randn(batch, n, n, generator=generator))
        value, gradient = reference(function, A, weight)
        return cls(function, A.to(device).requires_grad_(), weight.to(device), value, gradient)

    def forward(self, run: Run) -> Tensor:
        """One pass that keeps nothing for a gradient."""
        with torch.no_grad():
            return run(self.A)

    def value_and_gradient(self, run: Run) -> tuple[Tensor, Tensor]:
        """One forward and one backward pass."""
        Y = run(self.A)
        return Y, torch.autograd.grad(Y, self.A, self.weight)[0]


def symmetric(X: Tensor) -> Tensor:
    """The symmetric part, which is all that a symmetric matrix sees of its gradient."""
    return (X + X.mT) / 2


def spd(n: int, batch: int, condition: float, generator: torch.Generator) -> Tensor:
    """Randomly rotated matrices with log-spaced eigenvalues from ``1 / condition`` to 1."""
    values = torch.logspace(-math.log10(condition), 0, n, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(batch, n, n, dtype=torch.float64, generator=generator)).Q
    return symmetric((rotation * values) @ rotation.mT)


def reference(function: str, A: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    r"""Value and gradient in float64, from nothing but an eigendecomposition.

    The gradient is :math:`U (L \circ (U^\top G U)) U^\top` (Daleckii and Krein), where
    :math:`L_{ij}` is the divided difference of the function at two eigenvalues :math:`a^2, b^2`:
    :math:`1/(a + b)` for the root, :math:`-1/(a b (a + b))` for the inverse root.
    """
    values, U = torch.linalg.eigh(A.double())
    root = values.sqrt()
    a, b = root[..., :, None], root[..., None, :]
    inverse = function == "invsqrtm"
    f = 1 / root if inverse else root
    L = -1 / (a * b * (a + b)) if inverse else 1 / (a + b)
    return (U * f[..., None, :]) @ U.mT, U @ (L * (U.mT @ weight.double() @ U)) @ U.mT


def relative_error(X: Tensor, exact: Tensor) -> float | None:
    """Frobenius norm of the difference over that of the truth, worst of the batch.

    None stands for a result with a non-finite entry.
    """
    difference = torch.linalg.matrix_norm(X.detach().cpu().double() - exact)
    worst = (difference / torch.linalg.matrix_norm(exact)).max().item()
    return worst if math.isfinite(worst) else None


def saved_bytes(run: Run, A: Tensor) -> int:
    """The memory that the graph holds for the backward pass, each storage counted once."""
    storages: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        storages[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x.detach()

    with saved_tensors_hooks(pack, lambda x: x):
        _graph = run(A)  # held to the end: a storage that is freed could be counted again
    return sum(storages.values())


def peak_bytes(step: Callable[[], object], device: torch.device) -> int | None:
    """The most memory that a step takes on top of its inputs; None where it is not tracked."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    step()
    return torch.cuda.max_memory_allocated(device) - before


def milliseconds(steps: list[Callable[[], object]], min_time: float) -> list[tuple[float, float]]:
    """Median and interquartile range of each; the timer waits for the accelerator.

    The steps take turns, so that a machine that slows down slows all of them.
    """
    threads = torch.get_num_threads()
    timers = [Timer("step()", globals={"step": step}, num_threads=threads) for step in steps]
    turns = [
        [timer.blocked_autorange(min_run_time=min_time / ROUNDS) for timer in timers]
        for _ in range(ROUNDS)
    ]
    merged = (Measurement.merge(replicates)[0] for replicates in zip(*turns, strict=True))
    return [(1e3 * measured.median, 1e3 * measured.iqr) for measured in merged]


def measure(cells: Sequence[Cell], problem: Problem, min_time: float) -> list[Row]:
    """One row a cell: its error and memory, then its time unless it raised."""
    rows = [examine(cell, problem) for cell in cells]
    ran = [(r, c) for r, c in zip(rows, cells, strict=True) if r["saved_bytes"] is not None]
    for key, step in (("forward", problem.forward), ("time", problem.value_and_gradient)):
        times = milliseconds([partial(step, cell.run) for _, cell in ran], min_time)
        for (row, _), (median, iqr) in zip(ran, times, strict=True):
            row |= {f"{key}_ms": median, f"{key}_iqr_ms": iqr}
    return rows


def examine(cell: Cell, problem: Problem) -> Row:
    """Error and memory; what raises or is not finite says so in ``status``."""
    batch, n, _ = problem.A.shape
    row: Row = dict(function=problem.function, n=n, batch=batch)
    row |= dict(method=cell.method, backward=cell.backward, status="ok")
    row |= dict.fromkeys(("time_ms", "time_iqr_ms", "forward_ms", "forward_iqr_ms", "relative"))
    row |= dict.fromkeys(("value_error", "gradient_error", "peak_bytes", "saved_bytes"))
    try:
        Y, gradient = problem.value_and_gradient(cell.run)
        errors = {
            "value": relative_error(Y, problem.value),
            "gradient": relative_error(symmetric(gradient), problem.gradient),
        }
        row |= {f"{name}_error": error for name, error in errors.items()}
        if broken := [name for name, error in errors.items() if error is None]:
            row["status"] = f"non-finite {' and '.join(broken)}"
        row["peak_bytes"] = peak_bytes(partial(problem.value_and_gradient, cell.run), Y.device)
        row["saved_bytes"] = saved_bytes(cell.run, problem.A)
    except Exception as error:  # whatever a cell raises is its result
        row["status"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return row
