"""The command: every part in turn, results written after each, a table, an exit status."""

import json
import math
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic

import torch

import benchmarks.gpu
from benchmarks.gpu.parts import PARTS, of_shard, rows_of
from benchmarks.gpu.processes import OK, POISONED, run_cases
from benchmarks.gpu.promises import verdicts
from benchmarks.gpu.setting import Setting
from benchmarks.gpu.table import table
from benchmarks.measure import Row
from benchmarks.record import RESULTS, begin, command_line, parse, positive, write
from benchmarks.schemas import SCHEMAS

SECONDS = 225.0
"""Of a run, unless told: four minutes with a margin. A quick one, on a CPU, takes what it takes."""

PATIENCE = 10
"""How much longer a part of a quick run may take, on a machine that may be busy with others."""

PACKAGES = ("triton", "torchvision", "pytorch_lightning", "timm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all parts, or the one that a process is told to; the exit status."""
    options = options_of(arguments)
    setting = Setting(options.device, options.quick, options.min_time, options.until)
    if options.part is None:
        return run_all(options, setting)
    cases = of_shard(PARTS[options.part].cases(setting), options.shard)
    with options.rows.open("a") as file:

        def line(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()

        return run_cases(cases, line, options.first)


def options_of(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = command_line("gpu", "gpu.py", benchmarks.gpu.__doc__ or "", (0.2, 0.01))
    add = parser.add_argument
    add("--seconds", type=positive(float), default=SECONDS, help="for all; default: %(default)s")
    add("--only", nargs="+", choices=PARTS, metavar="PART", help=f"some of: {', '.join(PARTS)}")
    of_parts = {"--part": str, "--rows": Path, "--first": int, "--shard": str, "--until": float}
    for name, kind in of_parts.items():
        add(name, type=kind, help="for the processes of the parts")
    output = parser.parse_args(arguments).output
    options = parse(parser, arguments)
    if options.device == "cpu" and not options.quick:
        parser.error("needs a GPU; --quick --device cpu shows that all of it runs")
    if output is None and options.device == "cuda":
        suffix = "-quick" if options.quick else ""
        options.output = RESULTS / f"gpu-{card(torch.cuda.get_device_name())}{suffix}.json"
    return options


def card(name: str) -> str:
    """The name of a card as a part of a file's name: ``nvidia_h200``."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def run_all(options: Namespace, setting: Setting) -> int:
    """Every part in its time, what was found written after each."""
    end = math.inf if setting.quick else monotonic() + options.seconds
    facts = begin(options, packages=versions())
    rows: list[Row] = []
    verdict: list[Row] = []
    common = ["--device", setting.device, "--min-time", str(setting.min_time)]
    common += ["--quick"] if setting.quick else []
    for name in options.only or PARTS:
        began = monotonic()
        part = PARTS[name].seconds * (PATIENCE if setting.quick else 1)
        until = min(end, began + part)
        found = list(rows_of(name, replace(setting, until=until), common))
        print(f"\n{name}, {monotonic() - began:.0f} s\n{table(found)}", flush=True)
        rows += found
        verdict = list(verdicts(rows, judged=not setting.quick))
        results = {"metadata": facts, "rows": [*rows, *verdict]}
        write(results, SCHEMAS["gpu"], options.output)
    print(f"\npromises\n{table(verdict)}")
    failed = [row for row in rows if fails(row)]
    print(f"\n{len(failed)} of {len(rows)} rows failed; written to {options.output}")
    return int(bool(failed))


def fails(row: Row) -> bool:
    """Whether something went wrong: what needs another machine did not."""
    return row["status"] != OK and not row["status"].startswith("skipped")


def versions() -> dict[str, str | None]:
    """Of the packages that the figures depend on, None for one that is not there."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


if __name__ == "__main__":
    status = main()
    if status == POISONED:
        os._exit(status)  # nothing more is asked of a device that may be broken
    sys.exit(status)
