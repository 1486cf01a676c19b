"""Options that lie in a range: checked when a layer is built, and whenever they are set later."""

import math
from typing import Any

from torch import nn

from covlayers.functional._base.checks import check_number


class HasAlpha(nn.Module):
    """A module whose ``alpha`` is a number in [0, 1], checked whenever it is set, or is learnt."""

    alpha: nn.Parameter | float

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "alpha" and not isinstance(value, nn.Parameter):
            check_number("alpha", value, 0, 1)
        super().__setattr__(name, value)


class _InRange:
    # No __get__: Python then reads the value from the layer itself, at no cost.

    def __init__(self, low: float, high: float, open_low: bool, optional: bool) -> None:
        self.low, self.high, self.open_low, self.optional = low, high, open_low, optional

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __set__(self, layer: Any, value: Any) -> None:
        if value is not None or not self.optional:
            check_number(self.name, value, self.low, self.high, open_low=self.open_low)
        vars(layer)[self.name] = value


def in_range(
    low: float, high: float = math.inf, *, open_low: bool = False, optional: bool = False
) -> Any:
    """An attribute that takes a finite real number in ``[low, high]``, or in ``(low, high]``.

    Setting another value raises, and leaves the old one.

    Args:
        low: the least value.
        high: the largest value.
        open_low: whether ``low`` itself is out of range.
        optional: whether None is a value.
    """
    return _InRange(low, high, open_low, optional)
