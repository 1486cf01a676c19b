"""Tables of the entries of the results as they are."""

from collections.abc import Callable

from results import Results
from tables import number, table


def columns(words: int = 1, **headings: str) -> Callable[[Results], str]:
    """A table of those entries of every row, by their headings; the first ones are words."""

    def part(results: Results) -> str:
        def shown(value: object) -> object:
            if isinstance(value, list):
                return " × ".join(map(str, value))
            return number(value) if value is None or isinstance(value, float) else value

        body = ([shown(row[key]) for key in headings] for row in results["rows"])
        return table([*headings.values()], body, words)

    return part


def by_part(**parts: Callable[[Results], str]) -> Callable[[Results], str]:
    """A table for each part of the rows."""

    def part(results: Results) -> str:
        return "\n\n".join(
            shown({**results, "rows": [row for row in results["rows"] if row["part"] == name]})
            for name, shown in parts.items()
        )

    return part
