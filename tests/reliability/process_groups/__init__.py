"""Several processes over gloo: they do what one does with the whole batch, or end with an error."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import torch

from tests.built import MODULES
from tests.distributed.parity import DOUBLE, Case, Result, compare, network
from tests.reliability.process_groups import exchanges, lost_ranks, shard_trials, whole_layers
from tests.reliability.process_groups.ranks import results
from tests.reliability.process_groups.shared_training import described, running
from tests.reliability.rows import Row, row
from tests.reliability.same_bits import same

line = partial(row, "several processes")


def rows(quick: bool) -> Iterator[Row]:
    """One thread in this process too: its results are compared bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory() as folder:
            yield from compared(Groups.of(folder, quick=quick))
        outcomes, seconds = lost_ranks.losses(2 if quick else 4)
        yield line(
            "a process is lost in a step: an error for the others",
            outcomes,
            worst=f"{seconds:.1f} s, of which {lost_ranks.TIMEOUT.total_seconds():.0f} s timeout",
        )
        yield line(
            "torch's convert_sync_batchnorm leaves every module whole",
            {name: whole_layers.stays_whole(name) for name in MODULES},
        )
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Groups:
    """What groups of processes have found, by their number and by name."""

    folder: str
    quick: bool
    found: Mapping[int, Mapping[str, list[Any]]]

    @classmethod
    def of(cls, folder: str, *, quick: bool) -> "Groups":
        shard_trials.write_checkpoints(folder)
        sizes = (2,) if quick else (2, 3)
        return cls(folder, quick, {n: results(shard_trials.work, n, quick, folder) for n in sizes})

    def trial(self, trial: str) -> Iterator[tuple[Case, list[Result]]]:
        """What each process found in each case; of none where one has not come to an end."""
        for processes, found in self.found.items():
            for case in shard_trials.tried(trial, processes, quick=self.quick):
                yield case, found.get(f"{trial}: {shard_trials.titled(case)}", [])

    def alone(self, trial: str) -> dict[str, Result]:
        """What one process finds for each layer."""
        cases = [case for case, _ in self.trial(trial)]
        layers = dict.fromkeys(case.layer for case in cases)
        return {name: shard_trials.in_one_process(trial, name, self.folder) for name in layers}

    def errors(self, trial: str) -> dict[Case, float]:
        """The largest differences from one process, infinite where there is no number."""
        alone = self.alone(trial)
        return {case: error(alone[case.layer], each) for case, each in self.trial(trial)}


def error(alone: Result, each: list[Result]) -> float:
    if not each or not all(x.isfinite().all() for one in each for x in one.values()):
        return math.inf
    return max(compare(alone, each).values())


def close(case: Case, difference: float) -> bool:
    """Measured: 1.1e-5 in float32, 6e-13 in float64."""
    return difference < (1e-11 if case.layer in DOUBLE else 2e-5)


def outcomes(errors: Mapping[Case, float]) -> dict[str, bool]:
    return {shard_trials.titled(case): close(case, errors[case]) for case in errors}


def worst(errors: Mapping[Case, float]) -> str:
    return f"{max(errors.values()):.0e} of the largest entry"


def compared(groups: Groups) -> Iterator[Row]:
    """Several processes beside one."""
    errors = groups.errors("trained")
    yield line(
        "outputs, gradients, averages of shards are those of one process",
        outcomes(errors),
        worst=worst(errors),
        beside=f"{naive(groups)}; {sync_batchnorm(groups)}",
    )
    for trial, what in (
        ("accumulated", "gradients accumulated under no_sync are those of one process"),
        ("checkpointed", "activation checkpointing on shards is that on the whole batch"),
        ("penalised", "gradients of a squared gradient are those of one process"),
    ):
        errors = groups.errors(trial)
        yield line(what, outcomes(errors), worst=worst(errors))
    yield frozen(groups)
    yield from checkpoints(groups)
    yield from exchanged(groups)
    yield line(
        "Lightning, ddp, sync_batchnorm=True: layers whole, as one process",
        whole_layers.held_by_lightning(groups.found[2]),
    )


def naive(groups: Groups) -> str:
    trial = "averages of averages"
    held = [*outcomes(groups.errors(trial)).values()]
    first = {name: {"output 0": one["output 0"]} for name, one in groups.alone(trial).items()}
    off = max(error(first[case.layer], each) for case, each in groups.trial(trial))
    return f"averages of averages: {sum(held)} of {len(held)}, first outputs off by {off:.0e}"


def sync_batchnorm(groups: Groups) -> str:
    runs = any(groups.found[2].get("SyncBatchNorm", []))
    return f"torch.nn.SyncBatchNorm: {'runs' if runs else 'raises'} on a CPU"


def frozen(groups: Groups) -> Row:
    errors = groups.errors("frozen")
    kept = {}
    for case, each in groups.trial("frozen"):
        model = shard_trials.restored(case, groups.folder)
        averages = dict(enumerate(running(model).values()))
        kept[case] = all(
            torch.equal(one[f"running {i}"], value) for one in each for i, value in averages.items()
        )
    return line(
        "frozen layers train as in one process, their averages stay",
        {shard_trials.titled(case): close(case, errors[case]) and kept[case] for case in errors},
        worst=worst(errors),
    )


def checkpoints(groups: Groups) -> Iterator[Row]:
    """Bit for bit: the state on every process, and what the network makes of it in evaluation."""
    read = {}
    for case, each in groups.trial("read"):
        own = described(shard_trials.restored(case, groups.folder))
        read[shard_trials.titled(case)] = bool(each) and all(same(own, one) for one in each)
    yield line("checkpoint of one process, read by several", read)
    written = {}
    for case, each in groups.trial("written"):
        model = network(case)
        for one in each[:1]:
            state = {key: one[key] for key in one if key != "evaluation"}
            model.load_state_dict(state)
        own = described(model)
        written[shard_trials.titled(case)] = bool(each) and all(same(own, one) for one in each)
    yield line("checkpoint of several processes, read by one", written)


def exchanged(groups: Groups) -> Iterator[Row]:
    names = shard_trials.layers(quick=groups.quick)
    for what, judge in (
        ("two sums a step in training; none frozen or in evaluation", exchanges.sums_held),
        ("statistics are those of the processes that sync names", exchanges.members_held),
        ("an infinity on one process leaves the averages of all", exchanges.infinity_held),
    ):
        held = [judge(found, size, names) for size, found in groups.found.items()]
        yield line(what, {name: value for one in held for name, value in one.items()})
