"""The page on support says what the tests show, and of everything they are about."""

import importlib
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.support import main

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("support_page")


def test_the_file_has_what_is_tested_and_no_more() -> None:
    assert main(["--check"]) == 0


def test_every_column_has_its_meaning(page: ModuleType) -> None:
    text = (DOCS / "support.md").read_text()
    explained = set(re.findall(r"^\| \*\*(.+?)\*\* \|", text, re.MULTILINE))
    tables = json.loads(page.FILE.read_text())["tables"].values()
    assert explained == {what for rows in tables for row in rows.values() for what in row}


def test_tables(page: ModuleType, tmp_path: Path) -> None:
    page.write(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {
        *("modules", "methods", "rules", "provenance")
    }
    text = page.rows_of(
        {
            "A": {"float64": "yes", "ONNX": "raises", "vmap": "yes"},
            "B plain": {"float64": "yes", "ONNX": "raises SomeError", "vmap": "– no torch"},
            "C": {"float64": "yes", "vmap": "– no torch"},
        }
    )
    assert text.splitlines() == [
        "All 3: float64.",
        "",
        "|  | ONNX | vmap |",
        "| --- | --- | --- |",
        "| `A` | raises | yes |",
        "| `B` plain | raises¹ | –² |",
        "| `C` | – | –² |",
        "",
        "¹ SomeError. ² no torch.",
    ]
