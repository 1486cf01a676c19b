"""Tables of what was promised of a GPU, and of what was measured on one."""

from collections.abc import Iterator, Mapping

from results import Results, Row
from tables import number, table, unbroken

VERDICTS = {True: "holds", False: "**misses**", None: "skipped"}
FIGURES = {"wall_ms": "time", "value_error": "error", "tera": "TFLOP/s"}
TIMES = {"wall_ms": "ms", "gpu_ms": "ms of kernels", "launches": "launches"}
ERRORS = {"value_error": "value error", "gradient_error": "gradient error"}


def gpu(results: Results) -> str:
    """The promises, then the times and errors of every part that has some."""
    by_part: dict[str, list[Row]] = {}
    for row in results["rows"]:
        by_part.setdefault(row["part"], []).append(row)
    parts = [promises(by_part.get("promises", []))]
    for name, rows in by_part.items():
        timed = [row for row in rows if row.get("wall_ms") is not None]
        if timed:
            errors = ERRORS if any("value_error" in row for row in timed) else {}
            parts.append(f"**{name}**\n\n{figures(timed, errors)}")
    return "\n\n".join([*parts, *captured(by_part.get("graphs", []))])


def promises(rows: list[Row]) -> str:
    """Every promise, kept or not."""
    return table(
        ("", "", "promised", "measured", ""),
        (
            (
                row["case"],
                row["what"],
                promised(row),
                number(row["measured"]),
                VERDICTS[row["holds"]],
            )
            for row in rows
        ),
        words=3,
    )


def promised(row: Row) -> str:
    """The bound, and of what."""
    bound = f"{'≥' if row['at_least'] else '≤'} {row['bound']:g}"
    if row["against"] is None:
        return f"{bound} {FIGURES[row['figure']]}"
    return f"{bound} of the {FIGURES[row['figure']]} of {row['against']}"


def figures(rows: list[Row], errors: Mapping[str, str]) -> str:
    """Times of the user, of the GPU, launches, and errors where there are any."""
    return table(
        ("", "", "input", *TIMES.values(), *errors.values()),
        (
            (
                row["case"],
                row["what"],
                " × ".join(map(str, row["shape"])),
                *(number(row.get(key)) for key in TIMES),
                *(unbroken(row.get(key)) for key in errors),
            )
            for row in rows
        ),
        words=3,
    )


def captured(rows: list[Row]) -> Iterator[str]:
    """How many paths a CUDA graph captures, and which it does not."""
    tried = [row for row in rows if "captured" in row]
    if tried:
        caught = sum(row["captured"] for row in tried)
        missed = ", ".join(f"`{row['case']}`" for row in tried if not row["captured"])
        yield f"A CUDA graph captures {caught} of {len(tried)} paths{missed and ', not '}{missed}."
