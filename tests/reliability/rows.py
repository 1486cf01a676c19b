"""What every area of the reliability suite reports."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

SHOWN = 20
NONE = "–"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        area: what it belongs to.
        what: was tried.
        tried: how many.
        held: how many of them did what is promised.
        worst: the worst figure seen, with what it is, or a dash.
        beside: what PyTorch or the published form does with the same input, or a dash.
        failures: what did not hold, the first few.
    """

    area: str
    what: str
    tried: int
    held: int
    worst: str = NONE
    beside: str = NONE
    failures: tuple[str, ...] = ()


Area = Callable[[bool], Iterator[Row]]
"""Takes whether to be quick."""


def row(area: str, what: str, outcomes: Mapping[str, bool], **more: str) -> Row:
    """Counted from what held, by name."""
    failures = tuple(name for name, held in outcomes.items() if not held)
    tried = len(outcomes)
    return Row(area, what, tried, tried - len(failures), failures=failures[:SHOWN], **more)


def as_json(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """For the file."""
    return [asdict(one) for one in rows]
