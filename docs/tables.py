"""Tables of Markdown and the numbers in them."""

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], words: int = 1) -> str:
    """Markdown; the first columns are words, the others figures."""
    rule = ["---" if i < words else "---:" for i in range(len(headings))]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (headings, rule, *rows))


def number(value: float | None, spec: str | None = None) -> str:
    """A figure, by default of three digits, or a dash for none."""
    if value is None:
        return "–"
    return format(value, spec or (".3g" if abs(value) < 100 else ".0f"))


def unbroken(error: float | None) -> str:
    """An error that stays on its line."""
    return number(error, ".0e").replace("-", "\N{NON-BREAKING HYPHEN}")


def short(error: float) -> str:
    """One digit and the power of ten."""
    digit, power = f"{error:.0e}".split("e")
    return digit if int(power) == 0 else f"{digit}e{int(power)}"
