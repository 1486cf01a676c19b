"""The two ways in which an option can be wrong, and the sentence that says so."""

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def require(condition: bool, argument: str, expected: str, got: Any) -> None:
    """Raise unless ``condition`` holds.

    Args:
        condition: what must be true of the argument.
        argument: its name.
        expected: what it must be, in words.
        got: what came instead.

    Raises:
        ValueError: naming the argument, what was expected and what came.
    """
    if not condition:
        raise ValueError(f"{argument} must be {expected}, got {got!r}.")


def choose(argument: str, table: Mapping[str, T], name: str) -> T:
    """Look a name up in a table of choices.

    Args:
        argument: the argument that carried the name.
        table: the choices by name.
        name: the one that is wanted.

    Raises:
        ValueError: listing the names, if this is not one of them.
    """
    require(name in table, argument, f"one of {list(table)}", name)
    return table[name]
