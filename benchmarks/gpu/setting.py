"""What every part is told: where it runs, on how much, and for how long."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.measure import Row

Cases = Mapping[str, Callable[[], Iterable[Row]]]
"""What a part measures, by name: each is run for its rows, and may fail alone."""


class Skipped(Exception):  # noqa: N818  # nothing is wrong
    """Raised by a case that cannot run here: its text says why."""


class Spoilt(Exception):  # noqa: N818  # the rows before it are right
    """Raised by a case behind which its process must not measure anything more."""


@dataclass(frozen=True)
class Setting:
    """One run.

    Attributes:
        device: ``cuda`` or ``cpu``.
        quick: next to nothing, to see that all runs.
        min_time: seconds for each timing.
        until: when the part must be over, by ``time.monotonic``, which all processes share.
    """

    device: str
    quick: bool
    min_time: float
    until: float

    def need_gpu(self) -> None:
        """Skip what a CPU has not."""
        if self.device != "cuda":
            raise Skipped("needs a GPU")
