"""What is measured of a cell: time, memory, error."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import quantiles
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from benchmarks.cells import EXPONENTS, Cell, Outputs, Run
from benchmarks.memory import peak_bytes, saved_bytes

Row = dict[str, Any]
ROUNDS = 5
BLOCK_S = 2e-3
WARM_S = 0.05
SLOW_S = 1.0
# Warm is what takes about as long as the time before, or has run this often.
AGREEING, WARM_UPS = 1.5, 10


@dataclass(frozen=True)
class Problem:
    """A batch of matrices, the gradients that come from above, and what should come out."""

    function: str
    A: Tensor
    weights: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    gradient: Tensor

    @classmethod
    def random(
        cls,
        function: str,
        n: int,
        batch: int,
        *,
        condition: float,
        seed: int,
        device: str,
        dtype: torch.dtype = torch.float32,
    ) -> "Problem":
        """The same matrices on every device, with their float64 reference on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        A = spd(n, batch, condition, generator).to(dtype)
        weights = tuple(
            symmetric(torch.randn(batch, n, n, generator=generator).to(dtype))
            for _ in EXPONENTS[function]
        )
        values, gradient = reference(function, A, weights)
        above = tuple(weight.to(device) for weight in weights)
        return cls(function, A.to(device).requires_grad_(), above, values, gradient)

    def forward(self, run: Run) -> Outputs:
        """One pass that keeps nothing for a gradient."""
        with torch.no_grad():
            return run(self.A)

    def values_and_gradient(self, run: Run) -> tuple[tuple[Tensor, ...], Tensor]:
        """One forward and one backward pass."""
        outputs = run(self.A)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        return outputs, torch.autograd.grad(outputs, self.A, self.weights)[0]


def symmetric(X: Tensor) -> Tensor:
    """The symmetric part, which is all that a symmetric matrix sees of its gradient."""
    return (X + X.mT) / 2


def spd(n: int, batch: int, condition: float, generator: torch.Generator) -> Tensor:
    """Randomly rotated matrices with log-spaced eigenvalues from ``1 / condition`` to 1."""
    values = torch.logspace(-math.log10(condition), 0, n, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(batch, n, n, dtype=torch.float64, generator=generator)).Q
    return symmetric((rotation * values) @ rotation.mT)


def reference(
    function: str, A: Tensor, weights: Sequence[Tensor]
) -> tuple[tuple[Tensor, ...], Tensor]:
    r"""Values and gradient in float64, from an eigendecomposition only.

    The gradient is :math:`U (L \circ (U^\top G U)) U^\top` (Daleckii and Krein), where
    :math:`L_{ij}` is the divided difference of the function at two eigenvalues :math:`a^2, b^2`:
    :math:`1/(a + b)` for the root, :math:`-1/(a b (a + b))` for the inverse root.
    """
    values, U = torch.linalg.eigh(A.double())
    root = values.sqrt()
    a, b = root[..., :, None], root[..., None, :]
    outputs, gradient = [], torch.zeros_like(U)
    for exponent, weight in zip(EXPONENTS[function], weights, strict=True):
        L = 1 / (a + b) if exponent > 0 else -1 / (a * b * (a + b))
        outputs.append((U * values.pow(exponent)[..., None, :]) @ U.mT)
        gradient += U @ (L * (U.mT @ weight.double() @ U)) @ U.mT
    return tuple(outputs), gradient


def relative_error(X: Tensor, exact: Tensor) -> float | None:
    """Frobenius norm of the difference over the norm of the truth, worst of the batch.

    None stands for a result with a non-finite entry.
    """
    difference = torch.linalg.matrix_norm(X.detach().cpu().double() - exact)
    worst = (difference / torch.linalg.matrix_norm(exact)).max().item()
    return worst if math.isfinite(worst) else None


def worst(errors: Iterable[float | None]) -> float | None:
    """The largest error, None if one is not finite."""
    every = list(errors)
    return None if None in every else max(error for error in every if error is not None)


def milliseconds(
    steps: Sequence[Callable[[], object]], min_time: float
) -> list[tuple[float, float]]:
    """Median and interquartile range of each.

    The steps take turns, so that a machine that slows down slows all of them. A sample is the mean
    of a block of calls by the host's clock, read when torch.cuda.synchronize() has returned. (The
    timer of torch.utils.benchmark calls torch.set_num_threads, which changes LAPACK for good.)
    """
    for step in steps:
        settled(step)
    samples: list[list[float]] = [[] for _ in steps]
    for _ in range(ROUNDS):
        for step, own in zip(steps, samples, strict=True):
            own += _samples(step, min_time / ROUNDS)
    return [_median_and_iqr(own) for own in samples]


def seconds(step: Callable[[], object], calls: int = 1) -> float:
    """The time of one call, the mean over a block of them."""
    _wait()
    start = perf_counter()
    for _ in range(calls):
        step()
    _wait()
    return (perf_counter() - start) / calls


def settled(
    step: Callable[[], object],
    first: float | None = None,
    time: Callable[[Callable[[], object]], float] = seconds,
) -> float:
    """The time of a call once two in a row agree: none of them compiles, tunes or allocates.

    Args:
        step: what to call.
        first: the time of a call that came before, if one did.
        time: how a call is timed.
    """
    last = time(step) if first is None else first
    for _ in range(WARM_UPS):
        before, last = last, time(step)
        if max(before, last) <= AGREEING * min(before, last):
            break
    return last


def _wait() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _samples(step: Callable[[], object], min_time: float) -> list[float]:
    """Milliseconds a call of each block of calls, or of one call if it is long."""
    first = seconds(step)
    if first > max(WARM_S, min_time):
        return [1e3 * first]
    calls = max(1, int(BLOCK_S / first))
    own: list[float] = []
    end = perf_counter() + min_time
    while not own or perf_counter() < end:
        own.append(1e3 * seconds(step, calls))
    return own


def _median_and_iqr(samples: Sequence[float]) -> tuple[float, float]:
    low, median, high = quantiles(samples, method="inclusive")
    return median, high - low


def measure(cells: Sequence[Cell], problem: Problem, min_time: float) -> list[Row]:
    """One row a cell: its error and memory, then its times unless it raised or is slow."""
    rows = [examine(cell, problem) for cell in cells]
    ran = [(r, c) for r, c in zip(rows, cells, strict=True) if r["saved_bytes"] is not None]
    for key, step in (("forward", problem.forward), ("time", problem.values_and_gradient)):
        times = milliseconds([partial(step, cell.run) for _, cell in ran], min_time)
        for (row, _), (median, iqr) in zip(ran, times, strict=True):
            row |= {f"{key}_ms": median, f"{key}_iqr_ms": iqr}
    return rows


def examine(cell: Cell, problem: Problem) -> Row:
    """Error and memory; what raises, is slow or is not finite says so in ``status``."""
    batch, n, _ = problem.A.shape
    dtype = str(problem.A.dtype).removeprefix("torch.")
    row: Row = dict(function=problem.function, n=n, batch=batch, dtype=dtype)
    row |= dict(method=cell.method, backward=cell.backward, role=cell.role, status="ok")
    row |= dict.fromkeys(("time_ms", "time_iqr_ms", "forward_ms", "forward_iqr_ms", "relative"))
    row |= dict.fromkeys(("value_error", "gradient_error", "peak_bytes", "saved_bytes"))
    step = partial(problem.values_and_gradient, cell.run)
    try:
        start = perf_counter()
        outputs, gradient = step()
        _wait()
        elapsed = perf_counter() - start
        errors = {
            "value": worst(map(relative_error, outputs, problem.values)),
            "gradient": relative_error(symmetric(gradient), problem.gradient),
        }
        row |= {f"{name}_error": error for name, error in errors.items()}
        if broken := [name for name, error in errors.items() if error is None]:
            row["status"] = f"non-finite {' and '.join(broken)}"
        if elapsed > SLOW_S and (elapsed := settled(step, elapsed)) > SLOW_S:
            row |= {"time_ms": 1e3 * elapsed, "status": "timed once, as it is slow"}
            return row
        row["peak_bytes"] = peak_bytes(step, gradient.device)
        row["saved_bytes"] = saved_bytes(cell.run, problem.A)
    except Exception as error:  # whatever a cell raises is its result
        row["status"] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return row
