"""What this release promises of time, memory and error, and whether it holds here.

    python -m benchmarks.targets [--quick] [--device cpu|cuda|auto] [--output FILE]

Every promise of time is a ratio within this run: the two sides take turns. A promise that bounds
the errors of a matrix function holds only if they keep to the bounds too. The exit status is 0
either way: a promise that is missed reads ``misses``.

Matrices have condition number 1e4; a step is one forward and one backward pass, in float32.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch

import covlayers as cl
from benchmarks.cells import Cell, peers, registered_cells
from benchmarks.floor import four_products
from benchmarks.layers import BASELINE, EPS, FLOOR, features
from benchmarks.measure import Problem, Row, measure
from benchmarks.published import isqrt_cov, mpa
from benchmarks.published_layers import TextbookIterNorm, TextbookPool
from benchmarks.record import begin, command_line, finish, parse
from benchmarks.training_step import Group, measured

BATCHES = {16: 256, 64: 64, 128: 32, 256: 8}
LAYERS = (((64, 64, 32, 32), 64), ((32, 256, 14, 14), 256), ((32, 256, 14, 14), 64))
POOLED = (32, 256, 14, 14)
CONDITION = 1e4
SEED = 0
# What rounding alone moves the worst of a batch by: errors within it count as no larger.
ROUNDING = 1.1
SIDES = ("value_error", "gradient_error", "time_ms", "time_iqr_ms")


def promise(
    what: str,
    against: str,
    own: Row,
    peer: Row,
    at_most: float,
    *,
    quantity: str = "time",
    measured: float | None = None,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Row:
    """One promise: the ratio of two times, or the figure given, and bounds of both errors."""
    if measured is None and own["time_ms"] is not None and peer["time_ms"] is not None:
        measured = own["time_ms"] / peer["time_ms"]
    errors = (own.get("value_error"), own.get("gradient_error"))
    pairs = [(measured, at_most), *((e, b) for e, b in zip(errors, bounds, strict=True) if b)]
    return {
        "what": what,
        "against": against,
        "quantity": quantity,
        "promised": at_most,
        "measured": measured,
        "holds": None if measured is None else all(e is not None and e <= b for e, b in pairs),
        "value_bound": bounds[0],
        "gradient_bound": bounds[1],
        **{key: own.get(key) for key in SIDES},
        "against_ms": peer["time_ms"],
        "against_iqr_ms": peer["time_iqr_ms"],
    }


def named(function: str, *names: str) -> Iterator[Cell]:
    """The cells of those methods."""
    every = (*registered_cells(function, grid=False), *peers(function))
    return (cell for name in names for cell in every if cell.method == name)


def roots(n: int, device: str, min_time: float) -> Iterator[Row]:
    """The root, at an error no larger than its peers have."""
    title = f"sqrtm, {BATCHES[n]} of {n} x {n}"
    limits = {"torch.linalg.matrix_sqrth": 0.55, "spd_learn": 1.0}
    own, *others = compared("sqrtm", n, device, min_time, "auto", *limits)
    for peer in others:
        bounds = [peer[key] and ROUNDING * peer[key] for key in SIDES[:2]]
        yield promise(title, peer["method"], own, peer, limits[peer["method"]], bounds=(*bounds,))


def inverse_roots(n: int, device: str, min_time: float) -> Iterator[Row]:
    """The inverse root, at a small error."""
    title = f"invsqrtm, {BATCHES[n]} of {n} x {n}"
    own, peer = compared("invsqrtm", n, device, min_time, "auto", "published MPA")
    limit = 1.2 if n < 64 else 0.55
    yield promise(title, "published MPA, 8 sign steps", own, peer, limit, bounds=(1e-4, 1e-3))


def compared(function: str, n: int, device: str, min_time: float, *names: str) -> list[Row]:
    """The cells of those methods on the same matrices."""
    problem = Problem.random(function, n, BATCHES[n], condition=CONDITION, seed=SEED, device=device)
    return measure(list(named(function, *names)), problem, min_time)


def normalisation(
    shape: Sequence[int], group_size: int, device: str, min_time: float
) -> Iterator[Row]:
    """Whitening of a batch: its time against the textbook and its products, and what it keeps."""
    title = f"DecorrelatedBatchNorm {(*shape,)}, {group_size} a group"
    channels = shape[1]
    x = features(shape, "contiguous", device)
    layers = {
        BASELINE: TextbookIterNorm(channels, group_size, EPS).to(device),
        "own": cl.DecorrelatedBatchNorm(channels, channels // group_size, EPS).to(device),
        FLOOR: four_products(x, group_size, min_time),
    }
    rows = by_layer(Group(title, x, layers), min_time)
    own, kept = rows["own"], rows["own"]["kept_over_input"]
    yield promise(title, "textbook IterNorm", own, rows[BASELINE], 0.55)
    yield promise(title, FLOOR, own, rows[FLOOR], 1.6)
    yield promise(title, "its input", own, own, 1.1, quantity="kept bytes", measured=kept)


def pooling(device: str, min_time: float) -> Iterator[Row]:
    """Covariance pooling against the textbook."""
    x = torch.randn(POOLED, generator=torch.Generator().manual_seed(SEED)).to(device)
    pairs = {
        "ISQRTCovPool": ("textbook iSQRT-COV", isqrt_cov),
        "MPACovPool": ("textbook MPA", mpa),
    }
    layers = {textbook: TextbookPool(root) for textbook, root in pairs.values()}
    layers |= {name: getattr(cl, name)(POOLED[1]).to(device) for name in pairs}
    rows = by_layer(Group("pooling", x, layers), min_time)
    for name, (textbook, _) in pairs.items():
        yield promise(f"{name} {POOLED}", textbook, rows[name], rows[textbook], 0.5)


def by_layer(group: Group, min_time: float) -> Mapping[str, Row]:
    """The rows of a group, by name."""
    baseline = next(iter(group.modules))
    return {row["layer"]: row for row in measured(group, baseline, min_time)}


def line(row: Row) -> str:
    """One promise as aligned text."""
    holds = {True: "holds", False: "misses", None: "skipped"}[row["holds"]]
    errors = " ".join(
        f"{error:.0e} ({'any' if bound is None else f'<= {bound:.0e}'})"
        for error, bound in (
            (row["value_error"], row["value_bound"]),
            (row["gradient_error"], row["gradient_bound"]),
        )
        if error is not None
    )
    measured = "-" if row["measured"] is None else f"{row['measured']:.2f}"
    against = f"{row['quantity']} / {row['against']}"
    return f"{row['what']:54}{against:36}{row['promised']:>8.2f}{measured:>9}  {holds:8}{errors}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print promise by promise, write."""
    options = parse(command_line("targets", "targets.py", __doc__, (2.0, 0.2)), arguments)
    metadata = begin(options, condition_number=CONDITION, seed=SEED)
    where = {"device": options.device, "min_time": options.min_time}
    parts = (
        *(partial(roots, n, **where) for n in BATCHES),
        *(partial(inverse_roots, n, **where) for n in BATCHES),
        *(partial(normalisation, *case, **where) for case in LAYERS),
        partial(pooling, **where),
    )
    print(f"\n{'':54}{'':36}{'promised':>8}{'measured':>9}  {'':8}value error, gradient error")
    rows: list[Row] = []
    for part in parts:
        for row in part():
            print(line(row), flush=True)
            rows.append(row)
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
