"""What comes from others: checkpoints, pictures, dependencies; and from earlier versions."""

import re
import tomllib
from collections.abc import Iterator

from tests.reliability.interrupted_training.forked import ROOT
from tests.reliability.rows import Row, row
from tests.reliability.supply import hostile_checkpoints, hostile_pictures, state_dicts
from tests.reliability.supply.unsafe_calls import unsafe

AREA = "supply"
TABLE = ROOT / "docs" / "dependencies.md"
SOURCES = (
    *("covlayers/**/*.py", "examples/**/*.py", "benchmarks/**/*.py"),
    *("docs/*.py", "docs/gallery/*.py"),  # but not what is generated beside them
)


def rows(quick: bool) -> Iterator[Row]:
    """Sources are read, hostile files are tried, and what was once saved is loaded."""
    found = {
        str(file.relative_to(ROOT)): [*unsafe(file)]
        for pattern in SOURCES
        for file in sorted(ROOT.glob(pattern))
    }
    yield row(
        AREA,
        "source files without pickle, eval, torch.load of more than weights, or a picture of any "
        "size",
        {", ".join((file, *lines)): not lines for file, lines in found.items()},
    )
    refused, beside = hostile_checkpoints.outcomes(quick)
    what = "checkpoints that hold code are refused, and it does not run"
    yield row(AREA, what, refused, beside=beside)
    refused, beside = hostile_pictures.outcomes()
    what = "broken and too large pictures in every folder of a user: an error that names the file"
    yield row(AREA, what, refused, beside=beside)
    yield row(AREA, "dependencies explained, each with the floor that is asked for", explained())
    yield from state_dicts.rows()


def explained() -> dict[str, bool]:
    """Whether the table has every dependency, with its floor."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    text = TABLE.read_text()
    lists = (
        project["build-system"]["requires"],
        project["project"]["dependencies"],
        *project["project"]["optional-dependencies"].values(),
    )
    asked = sorted({one for part in lists for one in part if not one.startswith("covlayers[")})
    split = {one: re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", one) for one in asked}
    return {
        one: match is not None and f"| `{match[1]}` | {match[2]} |" in text
        for one, match in split.items()
    }
