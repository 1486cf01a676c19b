"""Several processes over gloo: they do what one does with the whole batch, or end with an error."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests.built import MODULES
from tests.counted import Counted
from tests.distributed.parity import DOUBLE, Case, Result, compare, network
from tests.reliability.process_groups import exchanges, lost_ranks, shard_trials, whole_layers
from tests.reliability.process_groups.ranks import results
from tests.reliability.process_groups.shared_training import described, running
from tests.reliability.same_bits import same

AREA = "several processes"


@dataclass(frozen=True)
class Groups:
    """What groups of processes have found, by their number and by name."""

    folder: str
    full: bool
    found: Mapping[int, Mapping[str, list[Any]]]

    @classmethod
    def of(cls, folder: str, *, full: bool) -> "Groups":
        shard_trials.write_checkpoints(folder)
        sizes = (2, 3) if full else (2,)
        return cls(folder, full, {n: results(shard_trials.work, n, full, folder) for n in sizes})

    def trial(self, trial: str) -> Iterator[tuple[Case, list[Result]]]:
        """What each process found in each case; of none where one has not come to an end."""
        for processes, found in self.found.items():
            for case in shard_trials.tried(trial, processes, full=self.full):
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
    return difference < (1e-11 if case.layer in DOUBLE else 2e-5)


def judge(counted: Counted, errors: Mapping[Case, float]) -> None:
    """Whether each is close: 1.1e-5 in float32 and 6e-13 in float64 were measured."""
    for case, difference in errors.items():
        held = close(case, difference)
        counted.case(shard_trials.titled(case), held=held, problem=f"off by {difference:.1e}")
        counted.figure(difference, "{} of the largest entry")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread in this process too: its results are compared bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def groups(full: bool, tmp_path_factory: pytest.TempPathFactory) -> Groups:
    return Groups.of(str(tmp_path_factory.mktemp("groups")), full=full)


@pytest.mark.promise(AREA, "outputs, gradients, averages of shards match one process")
def test_shards(groups: Groups, counted: Counted) -> None:
    judge(counted, groups.errors("trained"))
    counted.beside = f"{naive(groups)}; {sync_batchnorm(groups)}"


TRIALS = {
    "accumulated": "gradients accumulated under no_sync match one process",
    "checkpointed": "activation checkpointing on shards is that on the whole batch",
    "penalised": "gradients of a squared gradient match one process",
}


@pytest.mark.promise(AREA, "{what}")
@pytest.mark.parametrize(("trial", "what"), TRIALS.items())
def test_trials(trial: str, what: str, groups: Groups, counted: Counted) -> None:
    judge(counted, groups.errors(trial))


def naive(groups: Groups) -> str:
    trial = "averages of averages"
    held = [close(case, error) for case, error in groups.errors(trial).items()]
    first = {name: {"output 0": one["output 0"]} for name, one in groups.alone(trial).items()}
    off = max(error(first[case.layer], each) for case, each in groups.trial(trial))
    return f"averages of averages: {sum(held)} of {len(held)}, first outputs off by {off:.0e}"


def sync_batchnorm(groups: Groups) -> str:
    runs = any(groups.found[2].get("SyncBatchNorm", []))
    return f"torch.nn.SyncBatchNorm: {'runs' if runs else 'raises'} on a CPU"


@pytest.mark.promise(AREA, "frozen layers train as in one process, their averages stay")
def test_frozen(groups: Groups, counted: Counted) -> None:
    judge(counted, groups.errors("frozen"))
    for case, each in groups.trial("frozen"):
        averages = running(shard_trials.restored(case, groups.folder)).values()
        for i, value in enumerate(averages):
            assert all(torch.equal(one[f"running {i}"], value) for one in each), case


@pytest.mark.promise(AREA, "checkpoint of one process, read by several")
def test_read(groups: Groups, counted: Counted) -> None:
    for case, each in groups.trial("read"):
        own = described(shard_trials.restored(case, groups.folder))
        counted.case(
            shard_trials.titled(case), held=bool(each) and all(same(own, one) for one in each)
        )


@pytest.mark.promise(AREA, "checkpoint of several processes, read by one")
def test_written(groups: Groups, counted: Counted) -> None:
    """Bit for bit: the state on every process, and what the network makes of it in evaluation."""
    for case, each in groups.trial("written"):
        model = network(case)
        for one in each[:1]:
            model.load_state_dict({key: one[key] for key in one if key != "evaluation"})
        own = described(model)
        counted.case(
            shard_trials.titled(case), held=bool(each) and all(same(own, one) for one in each)
        )


Judge = Callable[..., dict[str, bool]]
EXCHANGED: dict[str, Judge] = {
    "two sums a step in training; none frozen or in evaluation": exchanges.sums_held,
    "statistics come from the processes that sync names": exchanges.members_held,
    "an infinity on one process leaves the averages of all": exchanges.infinity_held,
}


@pytest.mark.promise(AREA, "{what}")
@pytest.mark.parametrize("what", EXCHANGED)
def test_exchanged(what: str, groups: Groups, counted: Counted) -> None:
    names = shard_trials.layers(full=groups.full)
    for size, found in groups.found.items():
        counted.cases(EXCHANGED[what](found, size, names))


@pytest.mark.promise(AREA, "Lightning, ddp, sync_batchnorm=True: layers whole, as one process")
def test_lightning(groups: Groups, counted: Counted) -> None:
    counted.cases(whole_layers.held_by_lightning(groups.found[2]))


@pytest.mark.promise(AREA, "a process is lost in a step: an error for the others")
def test_lost(full: bool, counted: Counted) -> None:
    outcomes, seconds = lost_ranks.losses(4 if full else 2)
    counted.cases(outcomes)
    timeout = lost_ranks.TIMEOUT.total_seconds()
    counted.figure(seconds, f"{{}} s, of which {timeout:.0f} s timeout")


@pytest.mark.promise(AREA, "torch's convert_sync_batchnorm leaves every module whole")
@pytest.mark.parametrize("name", MODULES)
def test_stays_whole(name: str) -> None:
    assert whole_layers.stays_whole(name)
