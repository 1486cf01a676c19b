"""The tables of the page on reliability, from what the suite counted."""

import json
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from tables import table

FILE = Path(__file__).parent / "reliability.json"


def write(folder: Path) -> None:
    """``counted.md``: where the numbers come from, all areas at a glance, and a table for each."""
    folder.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = json.loads(FILE.read_text())
    areas = [
        (f"{area[:1].upper()}{area[1:]}", [*rows])
        for area, rows in groupby(report["rows"], key=lambda row: row["area"])
    ]
    glance = table(("area", "held"), [(area, share(total(rows))) for area, rows in areas])
    parts = [f"### {area}\n\n{counted(rows)}" for area, rows in areas]
    (folder / "counted.md").write_text("\n\n".join([summary(report), glance, *parts]) + "\n")


def total(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Of all that was tried, and held."""
    return {key: sum(row[key] for row in rows) for key in ("tried", "held")}


def summary(report: dict[str, Any]) -> str:
    """All of it in two sentences."""
    facts = report["metadata"]
    return (
        f"**{share(total(report['rows']))}** hold. `{facts['command']}` on {facts['cpu']}, "
        f"{facts['jobs']} processes, {facts['seconds'] / 60:.0f} minutes; torch {facts['torch']}, "
        f"covlayers {facts['covlayers']}, {facts['date'][:10]}."
    )


def counted(rows: list[dict[str, Any]]) -> str:
    """One line for each thing that was tried."""
    headings = ("tried", "held", "worst", "elsewhere")
    body = ((row["what"], share(row), unsplit(row["worst"]), row["beside"]) for row in rows)
    return table(headings, body, words=4)


def share(row: Mapping[str, Any]) -> str:
    """How many of how many, on one line."""
    return f"{row['held']:,}\N{NO-BREAK SPACE}/\N{NO-BREAK SPACE}{row['tried']:,}"


def unsplit(figure: str) -> str:
    """A figure with bars, which would part cells of a table."""
    return figure.replace("|", r"\|")
