"""What is warm before it is timed: no compilation is in a time."""

from collections.abc import Callable
from time import monotonic

import pytest

from benchmarks.measure import AGREEING, WARM_UPS, milliseconds, settled


def timed(times: list[float]) -> tuple[Callable[[Callable[[], object]], float], list[float]]:
    """A clock whose calls take these seconds, the last of them for ever; and what it has told."""
    told: list[float] = []

    def time(step: Callable[[], object]) -> float:
        step()
        told.append(times[min(len(told), len(times) - 1)])
        return told[-1]

    return time, told


@pytest.mark.parametrize(
    ("times", "calls", "last"),
    [
        ([5.5, 0.1, 2e-3, 2.1e-3], 4, 2.1e-3),  # compiled, then tuned, then warm
        ([1.0, 1.0], 2, 1.0),
        ([1e-3, 1.4e-3], 2, 1.4e-3),
        ([1e-3, 5.5, 1e-3, 1e-3], 4, 1e-3),  # compiled anew at the second call
    ],
)
def test_what_agrees_twice_is_warm(times: list[float], calls: int, last: float) -> None:
    clock, told = timed(times)
    assert settled(lambda: None, time=clock) == last
    assert len(told) == calls


def test_what_never_agrees_is_measured_all_the_same() -> None:
    clock, told = timed([2.0**-k * AGREEING**-k for k in range(30)])
    settled(lambda: None, time=clock)
    assert len(told) == 1 + WARM_UPS


def test_a_call_that_came_before_counts() -> None:
    clock, told = timed([1.1])
    assert settled(lambda: None, 1.0, clock) == 1.1
    assert len(told) == 1


def test_a_slow_first_call_is_in_no_median() -> None:
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        end = monotonic() + (0.3 if calls == 1 else 0)
        while monotonic() < end:
            pass

    ((median, iqr),) = milliseconds([step], 1e-3)
    assert median < 10  # 300 with the first call
    assert iqr < 10
