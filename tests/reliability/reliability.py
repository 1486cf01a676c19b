"""Everything that is promised, tried and counted.

    python tests/reliability/reliability.py [--quick] [--areas NAME ...] [--output FILE]

Prints what was tried, how much of it held, the worst figure and what others make of the same, and
ends with status 1 if anything did not hold.
"""

import argparse
import importlib
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests/reliability", "tests", "examples")]
sys.path.append(str(ROOT / "benchmarks"))

from record import surroundings  # noqa: E402
from rows import Row, as_json  # noqa: E402

AREAS = ("bad_inputs", "degenerate_spectra", "fuzzing", "process_groups")
LINE = "{0.area:16} {0.what:64.64} {0.held:>6}/{0.tried:<6} {0.worst:36.36} {0.beside}"


def rows_of(area: str, *, quick: bool) -> Iterator[Row]:
    """What the area of that name reports."""
    yield from importlib.import_module(area).rows(quick)


def run(areas: Sequence[str], *, quick: bool) -> list[Row]:
    """Everything, printed as it comes."""
    found = []
    for area in areas:
        start = time.perf_counter()
        for row in rows_of(area, quick=quick):
            found.append(row)
            print(LINE.format(row), flush=True)
            for failure in row.failures:
                print(f"    did not hold: {failure}")
        print(f"    {area}: {time.perf_counter() - start:.0f} s\n", flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print, write; whether something did not hold."""
    parser = argparse.ArgumentParser("reliability.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer tries, as in make test")
    add("--areas", nargs="+", choices=AREAS, default=AREAS, metavar="NAME", help=", ".join(AREAS))
    add("--output", type=Path, metavar="FILE", help="also write it as JSON")
    options = parser.parse_args(arguments)
    facts = surroundings("", [], "cpu")
    start = time.perf_counter()
    rows = run(options.areas, quick=options.quick)
    tried, held = sum(row.tried for row in rows), sum(row.held for row in rows)
    seconds = round(time.perf_counter() - start)
    print(f"{held} of {tried} held, in {seconds} s")
    if options.output is not None:
        shown = {key: facts[key] for key in ("date", "cpu", "threads", "torch", "covlayers")}
        given = sys.argv[1:] if arguments is None else arguments
        command = shlex.join(["python", "tests/reliability/reliability.py", *given])
        facts = shown | {"seconds": seconds, "command": command}
        options.output.write_text(
            json.dumps({"metadata": facts, "rows": as_json(rows)}, indent=1) + "\n"
        )
    return int(held != tried)


if __name__ == "__main__":
    sys.exit(main())
