"""The page on performance is made from results, and stands where there are none."""

import importlib
import json
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.gpu import promises

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("performance_page")


def test_what_is_not_measured_says_so(page: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "layers-cpu.json").write_text('{"metadata": {}, "rows": [{}]}')
    page.write(tmp_path, tmp_path / "page")
    for name in page.PARTS:
        assert "Not measured yet" in (tmp_path / "page" / f"{name}.md").read_text()


def test_every_part_has_its_include(page: ModuleType) -> None:
    text = (DOCS / "performance.md").read_text()
    for name in page.PARTS:
        assert f"generated/performance/{name}.md" in text


def test_matrix_functions_have_tables_and_figures(
    page: ModuleType, script, tiny_run: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "matrix_functions-cpu.json").write_text(json.dumps(tiny_run))
    page.write(tmp_path, tmp_path / "page")
    text = (tmp_path / "page" / "matrix_functions.md").read_text()
    assert "| `auto` |" in text
    assert "**sqrtm_and_invsqrtm**, float64" in text
    for figure in ("time-sqrtm", "time-invsqrtm"):
        name = f"matrix_functions-cpu-{figure}.svg"
        assert name in text
        assert (tmp_path / "page" / name).stat().st_size > 1000


def test_errors_are_drawn_at_one_size(
    script, tiny_run: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plot = script("plot")
    monkeypatch.setattr(plot, "PARETO_N", 4)
    drawn = plot.draw(tiny_run, tmp_path, "tiny", "png")
    assert [path.stem.split("-", 1)[1] for path in drawn] == [
        f"{kind}-{function}" for function in ("sqrtm", "invsqrtm") for kind in ("time", "error")
    ]


def test_the_front_is_what_nothing_beats(script) -> None:
    points = [(1.0, 3.0), (2.0, 3.0), (3.0, 1.0), (2.5, 2.0), (4.0, 1.5)]
    assert script("plot").nothing_beats(points) == [(1.0, 3.0), (2.5, 2.0), (3.0, 1.0)]


def test_names_keep_their_distance_and_order(script) -> None:
    moved = script("labels").spread({"a": 10.0, "b": 1.0, "c": 11.0}, 5.0, 14.0)
    assert sorted(moved, key=lambda name: moved[name]) == ["b", "a", "c"]
    heights = sorted(moved.values())
    assert min(b - a for a, b in pairwise(heights)) >= 5
    assert heights[-1] <= 14


def test_tables_of_layers_and_promises(page: ModuleType) -> None:
    assert page.table(("", "ms"), [("a", page.number(1234.5))]).splitlines()[-1] == "| a | 1234 |"
    assert page.number(None) == "–"
    assert page.unbroken(2e-5) == "2e\N{NON-BREAKING HYPHEN}05"


def test_a_call_has_its_ratio_target_and_count(page: ModuleType) -> None:
    results = json.loads((DOCS.parent / "benchmarks/results/overhead-cpu.json").read_text())
    text = page.PARTS["overhead"](results)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    (root,) = (row for row in rows if row[:3] == ["sqrtm", "1 × 4 × 4", "step"])
    assert root[-1] == "1.2"
    (fitted,) = (row for row in rows if row[:1] == ["ZCAWhitening"] and len(row) == 6)
    assert fitted[2:4] == ["–", "–"]
    assert all(int(count) > 0 for count in fitted[4:])


def test_a_gpu_has_its_promises_times_and_graphs(page: ModuleType, tmp_path: Path) -> None:
    known = json.loads((DOCS.parent / "benchmarks/results/overhead-cpu.json").read_text())
    facts = known["metadata"] | {"device": "NVIDIA H200", "packages": {}}
    timed = {"what": "CovPool", "shape": [2, 3], "wall_ms": 1.5, "gpu_ms": 0.25, "launches": 40}
    rows = [
        {"part": "layers", "case": "pooling", "status": "ok", **timed},
        {"part": "layers", "case": "broken", "what": "a", "status": "ValueError"},
        {"part": "graphs", "case": "sqrtm", "status": "ok", "captured": True},
        {"part": "graphs", "case": "eigh", "status": "ok", "captured": False},
        *({"part": "promises", **row} for row in promises.verdicts([])),
    ]
    written = json.dumps({"metadata": facts, "rows": rows})
    (tmp_path / "gpu-nvidia_h200.json").write_text(written)
    (tmp_path / "gpu-cpu-quick.json").write_text(written)
    page.write(tmp_path, tmp_path / "page")
    text = (tmp_path / "page" / "gpu.md").read_text()
    assert "| pooling | CovPool | 2 × 3 | 1.5 | 0.25 | 40 |" in text
    assert text.count("skipped") == len(promises.PROMISES)
    assert "captures 1 of 2 paths, not `eigh`." in text
    assert text.count("on NVIDIA H200") == 1
