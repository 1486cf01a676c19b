"""What was promised of a GPU, and whether it holds in this run.

A promise compares two rows of one case, which took turns, or bounds a figure of one row. It is
judged from rows alone: what was not measured is ``skipped``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.measure import Row

PART = "promises"


@dataclass(frozen=True)
class Promise:
    """One figure and its bound.

    Attributes:
        part: of the run.
        case: of that part.
        what: the row whose figure it is.
        bound: at most this, or at least this.
        against: the row that it is divided by, if any.
        key: the figure.
        at_least: which of the two.
    """

    part: str
    case: str
    what: str
    bound: float
    against: str | None = None
    key: str = "wall_ms"
    at_least: bool = False


def whitening(case: str, bound: float, times_batch_norm: float | None) -> Iterator[Promise]:
    """Against the textbook, and BatchNorm."""
    yield Promise("layers", case, "DecorrelatedBatchNorm", bound, "textbook IterNorm")
    if times_batch_norm is not None:
        yield Promise("layers", case, "DecorrelatedBatchNorm", times_batch_norm, "BatchNorm2d")


def roots(n: int, batch: int, of_isqrt: float, of_mpa: float | None) -> Iterator[Promise]:
    """Against the published roots."""
    case = f"sqrtm of {batch} x {n}²"
    yield Promise("functions", case, "sqrtm", of_isqrt, "published iSQRT-COV")
    if of_mpa is not None:
        yield Promise("functions", case, "sqrtm", of_mpa, "published MPA")


PROMISES: tuple[Promise, ...] = (
    *whitening("whitening of a stem", 0.2, 3.0),
    *whitening("whitening in groups", 0.2, 3.0),
    *whitening("whitening in one group", 0.4, None),
    *(
        Promise("layers", "pooling of 14 x 14", what, bound, against)
        for what, bound, against in (
            ("ISQRTCovPool", 0.3, "textbook iSQRT-COV"),
            ("MPACovPool", 0.25, "textbook MPA"),
            ("CovPool", 0.3, "textbook iSQRT-COV"),
        )
    ),
    *roots(64, 1024, 0.25, None),
    Promise(
        "functions",
        "sqrtm of 1024 x 64²",
        "sqrtm",
        1e-5,
        "published iSQRT-COV",
        key="value_error",
    ),
    *roots(128, 256, 0.6, 0.4),
    *roots(256, 64, 0.8, 0.4),
    *roots(512, 16, 1.0, 0.4),
    *(
        Promise("kernels", f"n = {n}", what, bound, key="tera", at_least=True)
        for n, bound in ((64, 90.0), (16, 30.0))
        for what in ("roots", "smith")
    ),
    Promise("networks", "ResNet-50", "CovPool", 1.08, "mean"),
    Promise("networks", "ResNet-18", "whitened throughout", 2.0, "BatchNorm2d"),
)


def verdicts(rows: Sequence[Row], *, judged: bool = True) -> Iterator[Row]:
    """A row for each promise.

    Args:
        rows: of the other parts.
        judged: False where the sizes are others than promised.
    """
    found = {(row["part"], row["case"], row.get("what")): row for row in rows}
    for one in PROMISES:
        own = figure(found, one, one.what)
        other = 1.0 if one.against is None else figure(found, one, one.against)
        measured = None if own is None or not other else own / other
        holds = None
        if measured is not None and judged:
            holds = measured >= one.bound if one.at_least else measured <= one.bound
        yield {
            "part": PART,
            "case": one.case,
            "what": one.what,
            "status": "ok",
            "figure": one.key,
            "against": one.against,
            "bound": one.bound,
            "at_least": one.at_least,
            "measured": measured,
            "holds": holds,
        }


def figure(
    found: dict[tuple[str, str, str | None], Row], promise: Promise, what: str
) -> float | None:
    """The figure of a row, None if it was not measured."""
    row = found.get((promise.part, promise.case, what), {})
    value: float | None = row.get(promise.key)
    return value
