"""Rows as aligned text: a line each, with the figures that any of them has."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import Row

TITLES = ("case", "what", "shape")
HIDDEN = ("part", "status", "wall_iqr_ms", "failures", "error")
VERDICTS = {True: "holds", False: "misses", None: "skipped"}


def table(rows: Sequence[Row]) -> str:
    """A heading and a line for each row, what went wrong below it; what was skipped is counted."""
    skipped = Counter(row["status"] for row in rows if row["status"].startswith("skipped"))
    counts = [f"{count} {status}" for status, count in skipped.items()]
    rows = [row for row in rows if row["status"] not in skipped]
    keys = dict.fromkeys(key for row in rows for key in row if key not in HIDDEN)
    lines = [[*keys]] + [[cell(key, row.get(key)) for key in keys] for row in rows]
    if not rows:
        return "\n".join(counts)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = (
        "  ".join(
            text.ljust(width) if key in TITLES else text.rjust(width)
            for key, text, width in zip(keys, line, widths, strict=True)
        ).rstrip()
        for line in lines
    )
    remarks = ["", *(remark(row) for row in rows)]
    text = [f"{line}{said}" for line, said in zip(aligned, remarks, strict=True)]
    return "\n".join([*text, *counts])


def cell(key: str, value: Any) -> str:
    """A figure in four digits, a verdict in a word."""
    if key == "holds":
        return VERDICTS[value]
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " x ".join(map(str, value))
    return str(value)


def remark(row: Row) -> str:
    """What else is to be said of a row."""
    said = [row["status"]] if row.get("status", "ok") != "ok" else []
    said += [row["error"]] if row.get("error") else []
    said += row.get("failures", ())
    return "".join(f"\n    {one}" for one in said)
