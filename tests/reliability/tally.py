"""Errors in units of what is promised."""

import math
from dataclasses import dataclass, field

from tests.reliability.rows import Row, row


@dataclass
class Tally:
    """Errors by name, each as a share of its bound."""

    shares: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, error: float, bound: float) -> None:
        self.shares[name] = error / bound

    def row(self, area: str, what: str, bound: str, **more: str) -> Row:
        held = {name: share <= 1 for name, share in self.shares.items()}  # so NaN is not
        worst = max(self.shares.values(), key=lambda share: math.inf if share != share else share)
        shown = "under 0.01" if worst < 0.01 else f"{worst:.1g}"
        return row(area, what, held, worst=f"{shown} of {bound}", **more)
