"""Figures of the first page and of choosing are made from results, for all that is registered."""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from covlayers import functional as F

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("atlas_page")


def test_every_method_and_rule_has_its_place(page: ModuleType) -> None:
    assert {*page.METHODS, "auto"} == {*F.METHODS}
    assert {*page.RULES} == {*F.BACKWARDS}
    for function, method, rule in page.LAYERS:
        assert callable(getattr(F, function))
        assert method in page.METHODS
        assert rule in page.RULES


def test_table_and_figures(
    page: ModuleType, tiny_run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "N", 4)
    (tmp_path / "matrix_functions-cpu.json").write_text(json.dumps(tiny_run))
    page.write(tmp_path, tmp_path / "page")
    text = (tmp_path / "page" / "measured.md").read_text()
    for name in page.LAYERS.values():
        assert name in text
    for figure in ("cells.svg", "decision.svg"):
        assert (tmp_path / "page" / figure).stat().st_size > 10_000


def test_errors_in_short(page: ModuleType) -> None:
    assert [page.short(error) for error in (2e-5, 0.96, 1.04)] == ["2e-5", "1", "1"]
