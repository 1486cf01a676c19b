"""The page on models says what becomes of them."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.families import FILE, MODELS, built, row

ROWS: dict[str, dict[str, Any]] = {
    one["model"]: one for one in json.loads(FILE.read_text())["rows"]
}


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("families_page")


def test_the_file_has_every_model_and_no_fault() -> None:
    assert list(ROWS) == MODELS
    assert {name: one["fault"] for name, one in ROWS.items() if "fault" in one} == {}
    for one in ROWS.values():
        done, total = one["converted"]
        assert done == total
        if "refused" not in one:
            assert one["trained"]
            assert one["same"]


@pytest.mark.parametrize("model", ["shufflenet_v2_x0_5", "segmentation.lraspp_mobilenet_v3_large"])
def test_a_row_is_what_the_file_has(model: str) -> None:
    name = f"torchvision.{model}"
    assert {"model": name, **row(lambda: built(name))} == ROWS[name]


def test_tables(page: ModuleType, tmp_path: Path) -> None:
    page.write(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == {"torchvision", "timm", "provenance"}
    fine = {"converted": [3, 3], "head": "around", "trained": True, "folded": [2, 3]}
    rows = [
        {"model": "timm.a", "input": [64, 64], **fine, "exported": False},
        {"model": "timm.b", "input": [64, 64], "converted": [0, 0], "refused": "No maps."},
    ]
    assert page.rows_of(rows).splitlines()[2:] == [
        "| `a` | 64² | 3 of 3 | around | yes | 2 | no |",
        "| `b` | 64² | none | refused¹ | – | – | – |",
        "",
        "1. No maps.",
    ]
