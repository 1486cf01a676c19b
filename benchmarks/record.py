"""What every benchmark shares: its command line, where its figures come from, and its file."""

import argparse
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import covlayers
from benchmarks.schemas import SCHEMAS

RESULTS = Path(__file__).parent / "results"


def command_line(
    name: str, script: str, about: str, min_time: tuple[float, float]
) -> argparse.ArgumentParser:
    """The options of every benchmark.

    Args:
        name: of the results and their schema.
        script: the file.
        about: its docstring.
        min_time: seconds for each timing, in a full run and in a quick one.
    """
    parser = argparse.ArgumentParser(script, description=about.splitlines()[0])
    parser.set_defaults(name=name, script=script, min_times=min_time)
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer sizes and shorter timing")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    add("--output", type=Path, metavar="FILE", help="the JSON; default: by device, in results/")
    seconds = "seconds for each timing; default: {}, or {} if quick".format(*min_time)
    add("--min-time", type=positive(float), metavar="S", help=seconds)
    return parser


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """The command line, by default the command line of the process, checked and completed."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    options.arguments = arguments
    available = torch.cuda.is_available()
    if options.device == "auto":
        options.device = "cuda" if available else "cpu"
    if options.device == "cuda" and not available:
        parser.error("argument --device: this PyTorch sees no CUDA device; use cpu or auto")
    options.min_time = options.min_time or options.min_times[options.quick]
    file = f"{options.name}-{options.device}{'-quick' if options.quick else ''}.json"
    options.output = options.output or RESULTS / file
    if options.output.is_dir():
        parser.error(f"argument --output: {options.output} is a directory, expected a file")
    return options


def positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    """An option that must be a positive, finite number."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"expected a positive number, got {text!r}")
        return value

    return parse


def begin(options: argparse.Namespace, **facts: Any) -> dict[str, Any]:
    """The metadata of a run, printed before anything is measured.

    Args:
        options: from :func:`parse`.
        facts: further metadata.
    """
    metadata = surroundings(options.script, options.arguments, options.device)
    metadata |= {"min_time_s": options.min_time, **facts}
    print("\n".join(f"{key}: {value}" for key, value in metadata.items()))
    return metadata


def finish(
    options: argparse.Namespace, metadata: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Write what was measured."""
    write({"metadata": metadata, "rows": rows}, SCHEMAS[options.name], options.output)
    print(f"\nwritten to {options.output}")


def cpu_model() -> str:
    """The processor's name, as the system knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def surroundings(script: str, arguments: Sequence[str], device: str) -> dict[str, Any]:
    """Where, when and by which command the figures came about."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": cpu_model() if device == "cpu" else torch.cuda.get_device_name(device),
        "cpu": cpu_model(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "covlayers": covlayers.__version__,
        "command": shlex.join(["python", "-m", f"benchmarks.{Path(script).stem}", *arguments]),
        "dtype": "float32",
    }


def validate(results: Mapping[str, Any], schema: Mapping[str, str]) -> None:
    """Raise ValueError unless the results have all that a reader of them relies on."""
    if absent := schema.keys() - results.keys():
        raise ValueError(f"the results lack {sorted(absent)}")
    if not results["rows"]:
        raise ValueError("the results have no rows")
    for part, entries in (("metadata", [results["metadata"]]), ("rows", results["rows"])):
        for index, entry in enumerate(entries):
            if absent := set(schema[part].split()) - entry.keys():
                raise ValueError(f"{part}, entry {index}, lacks {sorted(absent)}")


def write(results: Mapping[str, Any], schema: Mapping[str, str], path: Path) -> None:
    """Validate, then put the file in place in one move: it is never half written."""
    validate(results, schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
