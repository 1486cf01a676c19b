"""Table of the errors of poolings in ONNX, from what was measured."""

import json
from pathlib import Path

from support_page import code
from tables import table, unbroken

FILE = Path(__file__).with_name("onnx.json")
KINDS = {"from eager": "file from eager", "file": "file", "eager": "eager"}


def write(folder: Path) -> None:
    """One Markdown file, with the table and where it comes from."""
    folder.mkdir(parents=True, exist_ok=True)
    found = json.loads(FILE.read_text())
    facts, rows = found["metadata"], found["rows"]
    headings = ("", "", *(f"$\\kappa = 10^{condition:.0e}$" for condition in facts["conditions"]))
    headings = tuple(one.replace("1e+0", "") for one in headings)
    body = [
        (code(name) if kind == "from eager" else "", words, *map(unbroken, row[kind]))
        for name, row in rows.items()
        for kind, words in KINDS.items()
    ]
    text = table(headings, body, words=2)
    source = f"`python -m tests.onnx_errors`, torch {facts['torch']}, {facts['date']}."
    (folder / "errors.md").write_text(f"{text}\n\n{source}\n")
