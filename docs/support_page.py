"""Tables of the page on support, from what the tests said."""

import json
from collections.abc import Mapping
from pathlib import Path

from tables import table

FILE = Path(__file__).with_name("support.json")
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def write(folder: Path) -> None:
    """One Markdown file for each table, and one that says where they come from."""
    folder.mkdir(parents=True, exist_ok=True)
    found = json.loads(FILE.read_text())
    for name, rows in found["tables"].items():
        (folder / f"{name}.md").write_text(rows_of(rows) + "\n")
    facts = found["metadata"]
    (folder / "provenance.md").write_text(
        f"`python -m tests.support`: {facts['tests']} tests, torch {facts['torch']}, "
        f"{facts['date']}.\n"
    )


def rows_of(rows: Mapping[str, Mapping[str, str]]) -> str:
    """What holds for all of them in a line, the rest as a table with its notes."""
    properties = list(dict.fromkeys(what for row in rows.values() for what in row))
    common = [what for what in properties if all(row.get(what) == "yes" for row in rows.values())]
    others = [what for what in properties if what not in common]
    notes: dict[str, str] = {}

    def shown(said: str) -> str:
        word, _, note = said.partition(" ")
        if not note:
            return word
        return word + notes.setdefault(note, str(len(notes) + 1).translate(RAISED))

    body = [
        (code(name), *(shown(row.get(what, "–")) for what in others)) for name, row in rows.items()
    ]
    parts = [
        f"All {len(rows)}: {', '.join(common)}.",
        table(("", *others), body, words=1 + len(others)),
        " ".join(f"{mark} {note}." for note, mark in notes.items()),
    ]
    return "\n\n".join(part for part in parts if part)


def code(name: str) -> str:
    """A name, and in words what tells it from others of that name."""
    first, _, rest = name.partition(" ")
    return f"`{first}` {rest}".rstrip()
