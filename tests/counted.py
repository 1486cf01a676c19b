"""Cases that one test goes through: all are tried, and those that do not hold make it fail.

    def test_squares(counted):
        for x in range(3):
            with counted(x):
                assert x * x >= x

What a test says of its cases, the page on reliability shows for those that carry
``@pytest.mark.promise(area, what)``: see ``tests/reliability/__main__.py``.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

SHOWN = 20
NONE = "–"


class Counted:
    """The cases of one test, each by a name of its own.

    Attributes:
        problems: what was wrong, by case; empty where it held.
        worst: the worst figure, and words around it.
        beside: what PyTorch or the published form does with the same input.
    """

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self.record = record
        self.problems: dict[str, str] = {}
        self.worst: tuple[float, str] | None = None
        self.beside = NONE

    @contextmanager
    def __call__(self, *name: object) -> Iterator[None]:
        """A case that holds if nothing is raised."""
        try:
            yield
        except Exception as error:  # whatever it is, it is reported with the others
            self._add(name, f"{type(error).__name__}: {error}")
        else:
            self._add(name, "")

    def case(self, *name: object, held: bool, problem: str = "") -> None:
        """A case that was judged elsewhere."""
        self._add(name, "" if held else problem or "did not hold")

    def cases(self, outcomes: Mapping[str, bool]) -> None:
        """Some of them."""
        for name, held in outcomes.items():
            self.case(name, held=held)

    def within(self, *name: object, error: float, bound: float, of: str) -> None:
        """A case that holds if an error is within its bound, which is a number ``of`` units."""
        share = error / bound
        self.case(*name, held=share <= 1, problem=f"{share:.2g} of {of}")  # NaN is not
        self.figure(share, f"{{}} of {of}")

    def figure(self, value: float, words: str) -> None:
        """Keeps the largest."""
        value = math.inf if math.isnan(value) else value
        self.worst = max(self.worst or (value, words), (value, words))

    def _add(self, name: tuple[object, ...], problem: str) -> None:
        told = ", ".join(map(str, name))
        if told in self.problems:
            raise ValueError(f"two cases are called {told!r}")
        self.problems[told] = problem

    def finish(self) -> None:
        """Says what was counted, and raises if anything did not hold."""
        wrong = [f"{name}: {problem}" for name, problem in self.problems.items() if problem]
        tried = len(self.problems)
        said = {"tried": tried, "held": tried - len(wrong), "worst": self.worst}
        self.record("counted", said | {"beside": self.beside})
        if not tried:
            pytest.fail("no case was tried", pytrace=False)
        if wrong:
            lines = [f"{len(wrong)} of {tried} cases did not hold", *wrong[:SHOWN]]
            pytest.fail("\n".join(lines), pytrace=False)
