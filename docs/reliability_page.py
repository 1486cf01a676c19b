"""The tables of the page on reliability, from what the suite counted."""

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from tables import table

FILE = Path(__file__).parent / "reliability.json"


def write(folder: Path) -> None:
    """``counted.md``: a table for each area, and where the numbers come from."""
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = json.loads(FILE.read_text())
    parts = [
        f"### {area[:1].upper()}{area[1:]}\n\n{counted([*rows])}"
        for area, rows in groupby(report["rows"], key=lambda row: row["area"])
    ]
    (folder / "counted.md").write_text("\n\n".join([summary(report), *parts]) + "\n")


def summary(report: dict[str, Any]) -> str:
    """All of it in two sentences."""
    rows, facts = report["rows"], report["metadata"]
    tried, held = (sum(row[key] for row in rows) for key in ("tried", "held"))
    return (
        f"**{held:,} of {tried:,}** hold. `{facts['command']}` on {facts['cpu']}, "
        f"{facts['jobs']} processes, {facts['seconds'] / 60:.0f} minutes; torch {facts['torch']}, "
        f"covlayers {facts['covlayers']}, {facts['date'][:10]}."
    )


def counted(rows: list[dict[str, Any]]) -> str:
    """One line for each thing that was tried."""
    headings = ("tried", "held", "worst", "elsewhere")
    body = ((row["what"], share(row), row["worst"], row["beside"]) for row in rows)
    return table(headings, body, words=4)


def share(row: dict[str, Any]) -> str:
    """How many of how many, on one line."""
    return f"{row['held']}\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}{row['tried']}"
