"""Everything that is promised, tried and counted.

    python -m tests.reliability.reliability [--quick] [--areas NAME ...] [--jobs N] [--output FILE]

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
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.record import surroundings
from tests.reliability.rows import NONE, Row, as_json

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "examples"))  # as pytest does

AREAS = ("bad_inputs", "differentiation", "precision", "determinism")


def rows_of(area: str, *, quick: bool) -> Iterator[Row]:
    """What the area of that name reports."""
    yield from importlib.import_module(f"tests.reliability.{area}").rows(quick)


def tried(area: str, *, quick: bool) -> tuple[list[Row], float]:
    """The same, on one thread, and the seconds that it took."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    return [*rows_of(area, quick=quick)], time.perf_counter() - start


def run(areas: Sequence[str], *, quick: bool, jobs: int) -> list[Row]:
    """Everything, each area in a process of its own, printed in order."""
    found = []
    with ProcessPoolExecutor(jobs, get_context("spawn"), max_tasks_per_child=1) as pool:
        results = pool.map(partial(tried, quick=quick), areas)
        for rows, seconds in results:
            print(f"{rows[0].area}, {seconds:.0f} s")
            for row in rows:
                print("\n".join(lines(row)))
            print(flush=True)
            found += rows
    return found


def lines(row: Row) -> Iterator[str]:
    """Of the table."""
    yield f"{row.held:>8} of {row.tried:<6} {row.what}"
    for name, figure in (("worst", row.worst), ("elsewhere", row.beside)):
        if figure != NONE:
            yield f"{name:>26}: {figure}"
    for failure in row.failures:
        yield f"{'did not hold':>26}: {failure}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try, print, write; whether something did not hold."""
    parser = argparse.ArgumentParser("reliability.py", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer tries, as in make test")
    add("--areas", nargs="+", choices=AREAS, default=AREAS, metavar="NAME", help=", ".join(AREAS))
    add("--jobs", type=int, default=2, metavar="N", help="areas at the same time, 2 by default")
    add("--output", type=Path, metavar="FILE", help="also write it as JSON")
    options = parser.parse_args(arguments)
    facts = surroundings("", [], "cpu")
    start = time.perf_counter()
    rows = run(options.areas, quick=options.quick, jobs=options.jobs)
    count, held = sum(row.tried for row in rows), sum(row.held for row in rows)
    seconds = round(time.perf_counter() - start)
    print(f"{held} of {count} held, in {seconds} s")
    if options.output is not None:
        shown = {key: facts[key] for key in ("date", "cpu", "torch", "covlayers")}
        given = sys.argv[1:] if arguments is None else arguments
        command = shlex.join(["python", "-m", "tests.reliability.reliability", *given])
        facts = shown | {"jobs": options.jobs, "seconds": seconds, "command": command}
        options.output.write_text(
            json.dumps({"metadata": facts, "rows": as_json(rows)}, indent=1) + "\n"
        )
    return int(held != count)


if __name__ == "__main__":
    sys.exit(main())
