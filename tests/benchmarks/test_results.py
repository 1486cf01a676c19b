"""Every file of results has what its readers rely on."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_a_committed_file_fits_its_schema(script, path: Path) -> None:
    schemas = script("schemas").SCHEMAS
    script("record").validate(json.loads(path.read_text()), schemas[path.stem.split("-")[0]])
