"""What every benchmark writes down: where its figures come from, and all of them or none."""

import json
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import covlayers

SURROUNDINGS = """
    date device cpu cpu_count threads omp_wait_policy torch python covlayers command dtype
"""


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
        "command": shlex.join(["python", f"benchmarks/{script}", *arguments]),
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
