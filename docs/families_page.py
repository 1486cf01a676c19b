"""The tables of the page on models of torchvision and timm, from what was tried."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support_page import RAISED
from tables import table

FILE = Path(__file__).with_name("families.json")
HEADINGS = ("", "input", "converted", "head", "step", "folded", "export")


def write(folder: Path) -> None:
    """One Markdown file for each library, and one that says where they come from."""
    folder.mkdir(parents=True, exist_ok=True)
    found = json.loads(FILE.read_text())
    for library in ("torchvision", "timm"):
        rows = [row for row in found["rows"] if row["model"].startswith(f"{library}.")]
        (folder / f"{library}.md").write_text(rows_of(rows) + "\n")
    facts = found["metadata"]
    (folder / "provenance.md").write_text(
        f"`python -m tests.families`: {len(found['rows'])} models, torch {facts['torch']}, "
        f"torchvision {facts['torchvision']}, timm {facts['timm']}, {facts['date']}.\n"
    )


def rows_of(rows: list[dict[str, Any]]) -> str:
    """The table, and below it why a head was refused, or what failed."""
    reasons: list[str] = []
    body = []
    for row in rows:
        cells = [
            f"`{row['model'].partition('.')[2]}`",
            size(row["input"]),
            share(row, "converted"),
            row.get("head", ""),
            word(row, "trained"),
            share(row, "folded").partition(" ")[0],
            word(row, "exported"),
        ]
        for outcome in ("refused", "fault"):
            if outcome in row:
                reasons.append(row[outcome])
                mark = str(len(reasons)).translate(RAISED)
                first = cells.index("")
                cells[first:] = [f"{outcome}{mark}", *["–"] * (len(cells) - first - 1)]
        body.append(cells)
    marks = [f"{i}. {reason}" for i, reason in enumerate(reasons, 1)]
    return "\n\n".join([table(HEADINGS, body, words=len(HEADINGS)), "\n".join(marks)]).strip()


def size(shape: list[int]) -> str:
    """Pixels of a side, and how many images a clip has."""
    *frames, height, width = shape
    side = f"{width}²" if height == width else f"{height}×{width}"
    return "×".join([*map(str, frames), side])


def share(row: Mapping[str, Any], what: str) -> str:
    """So many of so many BatchNorms, empty where it was not tried."""
    if what not in row:
        return ""
    done, total = row[what]
    return f"{done} of {total}" if total else "none"


def word(row: Mapping[str, Any], what: str) -> str:
    """Yes or no, empty where it was not tried."""
    return {True: "yes", False: "no"}[row[what]] if what in row else ""
