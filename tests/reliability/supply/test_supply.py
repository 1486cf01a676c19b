"""What comes from others: checkpoints, pictures, dependencies; and from earlier versions."""

import re
import tomllib

import pytest
import torch

import covlayers
from tests.counted import Counted
from tests.reliability.interrupted_training.forked import ROOT
from tests.reliability.supply import hostile_checkpoints, hostile_pictures, state_dicts
from tests.reliability.supply.unsafe_calls import unsafe

TABLE = ROOT / "docs" / "dependencies.md"
SOURCES = (
    *("covlayers/**/*.py", "examples/**/*.py", "benchmarks/**/*.py"),
    *("docs/*.py", "docs/gallery/*.py"),  # but not what is generated beside them
)
SAVED = {file.stem: file for file in sorted(state_dicts.FOLDER.glob("*.pt"))}


@pytest.mark.promise(
    "supply",
    "source files without pickle, eval, torch.load of more than weights, or a picture of any size",
)
def test_sources(counted: Counted) -> None:
    for pattern in SOURCES:
        for file in sorted(ROOT.glob(pattern)):
            found = [*unsafe(file)]
            counted.case(file.relative_to(ROOT), held=not found, problem=", ".join(found))


@pytest.mark.promise("supply", "checkpoints that hold code are refused, and it does not run")
def test_hostile_checkpoints(full: bool, counted: Counted) -> None:
    refused, counted.beside = hostile_checkpoints.outcomes(full=full)
    counted.cases(refused)


@pytest.mark.promise(
    "supply",
    "broken and too large pictures in every folder of a user: an error that names the file",
)
def test_hostile_pictures(counted: Counted) -> None:
    refused, counted.beside = hostile_pictures.outcomes()
    counted.cases(refused)


@pytest.mark.promise("supply", "dependencies explained, each with the floor that is asked for")
def test_the_table_has_every_dependency_with_its_floor(counted: Counted) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    text = TABLE.read_text()
    lists = (
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    )
    for one in sorted({one for part in lists for one in part}):
        if not one.startswith("covlayers["):
            match = re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", one)
            told = match is not None and f"| `{match[1]}` | {match[2]} |" in text
            counted.case(one, held=told)


@pytest.mark.promise(
    "supply", "state_dicts of {version}: load strictly, and give the output of then"
)
@pytest.mark.parametrize("version", SAVED)
def test_state_dicts(version: str, counted: Counted) -> None:
    saved = torch.load(SAVED[version], weights_only=True)
    errors = state_dicts.load(saved, whole=version == covlayers.__version__)
    for name, error in errors.items():
        counted.within(name, error=error, bound=1, of="what rounding may change")
