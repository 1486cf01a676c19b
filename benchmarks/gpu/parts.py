"""The parts of a run, in order, and the seconds that each may take."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from benchmarks.gpu import examples, functions, graphs, kernels, layers, networks, own_tests
from benchmarks.gpu.processes import OUT_OF_TIME, python, supervised
from benchmarks.gpu.setting import Cases, Setting
from benchmarks.measure import Row


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        cases: what it measures.
        seconds: for all of it.
        shards: processes that share its cases, where no time is compared.
        leftover: it is run if time is left, and what is not is no failure.
    """

    cases: Callable[[Setting], Cases]
    seconds: float
    shards: int = 1
    leftover: bool = False


PARTS: dict[str, Part] = {
    "tests": Part(own_tests.cases, 75),
    "layers": Part(layers.cases, 50),
    "functions": Part(functions.cases, 40),
    "kernels": Part(kernels.cases, 15),
    "networks": Part(networks.cases, 40),
    "graphs": Part(graphs.cases, 40, shards=8, leftover=True),
    "examples": Part(examples.cases, 30, leftover=True),
    "other layers": Part(layers.other_cases, 120, leftover=True),
    "compiled networks": Part(networks.compiled_cases, 120, leftover=True),
}


def of_shard(cases: Cases, shard: str) -> Cases:
    """One share of the cases, evenly spread: ``1/6`` is the second of six."""
    number, shards = map(int, shard.split("/"))
    return {name: cases[name] for name in islice(cases, number, None, shards)}


def rows_of(name: str, setting: Setting, options: Sequence[str]) -> Iterator[Row]:
    """The rows of a part, from processes of its own.

    Args:
        name: of the part.
        setting: with the end of its time.
        options: of the command line, for those processes.
    """
    part = PARTS[name]
    shards = 1 if setting.quick else part.shards
    command = python("benchmarks.gpu", *options, "--part", name, "--until", str(setting.until))

    def run(number: int) -> list[Row]:
        shard = [*command, "--shard", f"{number}/{shards}"]
        return list(supervised(shard, setting.until))

    with ThreadPoolExecutor(shards) as pool:
        for rows in pool.map(run, range(shards)):
            for row in rows:
                if part.leftover and row["status"] == OUT_OF_TIME:
                    row["status"] = "skipped: no time was left"
                yield {"part": name, **row}
