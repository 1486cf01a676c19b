"""Rates of the iterations, as float32 products a second, beside the ceilings of the card.

A product of two n x n matrices takes 2 n³ operations. What runs is what the library takes there: a
kernel of one launch, or the plain lines where no kernel serves the size.
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch

from benchmarks.gpu.functions import distinct
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.gpu.timing import watched
from benchmarks.measure import Row, milliseconds, seconds, settled, spd
from covlayers.functional._base.linalg import spectral_bound
from covlayers.functional._iterations.roots import iterated_roots
from covlayers.functional._iterations.smith import solve_by_smith
from covlayers.functional.methods._minimax import minimax_quintics

BATCHES = {16: 4096, 64: 1024, 128: 256}
EPS = torch.finfo(torch.float32).eps
LOWER = (16 * EPS) ** 0.5
DOUBLINGS = 7
NEWTON_STEPS = 5  # to the inverse that Smith's iteration begins with, for this bound
COPIED = 2**28  # numbers, 1 GiB
SIDE = 8192


def cases(setting: Setting) -> Cases:
    """The ceilings of the card, then the rates."""
    precisions = {"float32": "highest", "TF32": "high"}
    return (
        {"copy": partial(copy, setting)}
        | {
            f"matmul in {name}": partial(matmul, precision, setting)
            for name, precision in precisions.items()
        }
        | {f"n = {n}": partial(iterations, n, batch, setting) for n, batch in BATCHES.items()}
    )


def copy(setting: Setting) -> Iterator[Row]:
    """Bytes read and written a second."""
    setting.need_gpu()
    x = torch.randn(COPIED, device="cuda")
    y = torch.empty_like(x)
    yield {"what": "terabytes a second", "tera": 2 * x.nbytes / fastest(partial(y.copy_, x)) / 1e12}


def matmul(precision: str, setting: Setting) -> Iterator[Row]:
    """What cuBLAS reaches."""
    setting.need_gpu()
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        A = torch.randn(SIDE, SIDE, device="cuda")
        rate = 2 * SIDE**3 / fastest(partial(torch.mm, A, A)) / 1e12
    finally:
        torch.set_float32_matmul_precision(before)
    yield {"what": "TFLOP/s", "tera": rate}


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls."""
    settled(run)
    return min(seconds(run) for _ in range(10))


def iterations(n: int, batch: int, setting: Setting) -> Iterator[Row]:
    """Roots and Smith on matrices of condition number 1e4."""
    n, batch = (4, 2) if setting.quick else (n, batch)
    few = spd(n, distinct(n, batch), 1e4, torch.Generator().manual_seed(0))
    A = few.float().repeat(batch // len(few), 1, 1).to(setting.device)
    steps = minimax_quintics(LOWER, EPS)
    bound = spectral_bound(A)
    Q = (A + A.mT) / 2
    products = {
        "roots": 2 + 4 * (len(steps) - 1),
        "smith": 2 + 2 * NEWTON_STEPS + 3 * DOUBLINGS,
    }
    runs = {
        "roots": lambda: iterated_roots(A, steps, tight=True, root=True, inverse_root=True).root,
        "smith": lambda: solve_by_smith(A, Q, bound, LOWER, DOUBLINGS),
    }
    for name, run in runs.items():
        settled(run)
        ((wall, iqr),) = milliseconds([run], setting.min_time)
        row: Row = {"what": name, "shape": [batch, n, n], "wall_ms": wall, "wall_iqr_ms": iqr}
        row |= watched(run, setting.device)
        operations = 2 * n**3 * batch * products[name]
        busy = row["gpu_ms"]
        yield row | {"products": products[name], "tera": busy and operations / busy / 1e9}
