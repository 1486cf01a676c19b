"""Parts in processes of their own: what dies, hangs or raises loses its own rows alone.

A process writes lines of JSON into a file: the names of all cases, then the number of each case as
it starts, and its rows. Who started it reads them, whatever has become of it.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from time import monotonic

import torch

from benchmarks.gpu.setting import Cases, Skipped, Spoilt
from benchmarks.measure import Row

ROOT = Path(__file__).parents[2]
OK = "ok"
OUT_OF_TIME = "out of time"
MARGIN = 3.0
"""Seconds before the end of a part in which it hears what its processes said."""
POISONED = 3
"""The exit status of a process that can use the device no longer."""


def told(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"


def run_cases(cases: Cases, write: Callable[[Row], object], first: int = 0) -> int:
    """Run the cases from number ``first`` on, each by itself; the exit status of the process."""
    write({"cases": [*cases]})
    for number, (name, case) in enumerate(cases.items()):
        if number < first:
            continue
        write({"starts": number})
        try:
            for row in case():
                write({"case": name, "status": OK} | row)
        except Skipped as why:
            write({"case": name, "status": f"skipped: {why}"})
        except Spoilt:
            return POISONED
        except Exception as error:  # whatever a case raises is its result
            write({"case": name, "status": told(error)})
            if not device_works():
                return POISONED
    return 0


def device_works() -> bool:
    """Whether the device still computes: after an illegal access nothing does in a process."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.empty_cache()
        return float(torch.ones(2, device="cuda").sum()) == 2
    except Exception:  # of whatever class it is
        return False


def supervised(command: Sequence[str], until: float) -> Iterator[Row]:
    """The rows of the cases that ``command`` runs, started anew behind a case that killed it.

    Args:
        command: to which ``--rows FILE --first NUMBER`` is added.
        until: when all of its processes must be over, by ``time.monotonic``.
    """
    first, names = 0, [""]
    while first < len(names):
        with tempfile.TemporaryDirectory() as folder:
            rows = Path(folder) / "rows"
            options = ["--rows", str(rows), "--first", str(first)]
            code, said = finish_within([*command, *options], until - monotonic())
            lines = rows.read_text().splitlines() if rows.exists() else []
        at = first
        for line in map(whole, lines):
            names = line.get("cases", names)
            at = line.get("starts", at)
            if "status" in line:
                yield line
        if code == 0:
            return
        if code is None:
            yield from ({"case": name, "status": OUT_OF_TIME} for name in names[at:])
            return
        if code != POISONED:
            last = " ".join(said.split())[-500:]
            yield {"case": names[at], "status": f"the process ended with {code}: {last}"}
        first = at + 1


def whole(line: str) -> Row:
    """A line of JSON, None for what is not finite; nothing, where it was cut off."""
    try:
        found: Row = json.loads(line, parse_constant=lambda constant: None)
    except ValueError:
        return {}
    return found


def finish_within(command: Sequence[str], seconds: float) -> tuple[int | None, str]:
    """The exit status of a command, None if it was killed as too slow, and what it said.

    All that it started ends with it: it is in one group of processes with them.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "300"},
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return code, said.read()


def at_once(
    commands: Mapping[str, Sequence[str]], until: float
) -> Iterator[tuple[str, int | None, str]]:
    """For each command, all started now: its name, and as :func:`finish_within`."""
    with ThreadPoolExecutor(len(commands)) as pool:
        seconds = until - monotonic()
        running = {
            name: pool.submit(finish_within, command, seconds) for name, command in commands.items()
        }
        for name, ended in running.items():
            yield name, *ended.result()


def python(module: str, *options: str) -> list[str]:
    """The command of a module of this repository."""
    return [sys.executable, "-m", module, *options]
