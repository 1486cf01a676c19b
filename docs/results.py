"""What the benchmarks wrote, and by which command."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.record import validate
from benchmarks.schemas import SCHEMAS

Row = Mapping[str, Any]
Results = Mapping[str, Any]
Cells = Mapping[tuple[str, str, str], Row]
"""Rows of one size and type, by function, method and rule."""


def load(results: Path, name: str, device: str) -> Results | None:
    """The results of a full run, else of a quick run, else None.

    A file that lacks what this version of the benchmark writes counts as absent.
    """
    for path in (results / f"{name}-{device}{suffix}.json" for suffix in ("", "-quick")):
        if path.exists():
            found: Results = json.loads(path.read_text())
            with suppress(ValueError):
                validate(found, SCHEMAS[name])
                return found
    return None


def provenance(results: Results) -> str:
    """By which command, where and when."""
    facts = results["metadata"]
    device = facts["device"]
    where = device if device != facts["cpu"] else f"{device}, threads: {facts['threads']}"
    return (
        f"`{facts['command']}` on {where}; torch {facts['torch']}, covlayers {facts['covlayers']}, "
        f"{facts['dtype']}, {facts['date'][:10]}."
    )
