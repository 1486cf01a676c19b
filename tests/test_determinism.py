"""The same seed gives the same bits in two processes, and torch's deterministic mode never raises.

    python -m tests.test_determinism [--full]

prints what one process comes to. The mode also fills memory that nothing was written to with NaN:
reading some gives the same bits twice, so all has to be finite.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from covlayers.functional import BACKWARDS, METHODS
from tests.built import MODULES, sample, weighted
from tests.counted import Counted
from tests.properties import FUNCTIONS, spd, value_and_gradient

STEPS = 3
FAILED = "failed"

Digests = dict[str, dict[str, str]]
"""What each case came to, by what was tried."""


WHATS = (
    f"{STEPS} steps of training of every module",
    "value and gradient of every cell of methods and rules",
)


@pytest.fixture(scope="module")
def twice(full: bool) -> tuple[Digests, Digests]:
    """What two processes come to."""
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(in_a_process, (full, full))
    return first, second


@pytest.mark.promise("determinism", "{what}: bit-equal in two processes, in deterministic mode")
@pytest.mark.parametrize("what", WHATS)
def test_the_same_bits(what: str, twice: tuple[Digests, Digests], counted: Counted) -> None:
    first, second = (digests[what] for digests in twice)
    for name, digest in first.items():
        held = digest == second[name] and not digest.startswith(FAILED)
        counted.case(name, held=held, problem=f"{digest}, {second[name]}")


def in_a_process(full: bool) -> Digests:
    """The digests of an interpreter of its own, on one thread."""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", __name__, *(["--full"] if full else [])]
    done = subprocess.run(command, env=os.environ | paths, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def digest(tensors: Iterable[Tensor]) -> str:
    """A digest of every bit.

    Raises:
        RuntimeError: if a number is not finite.
    """
    hashed = hashlib.sha256()
    for tensor in tensors:
        if not tensor.isfinite().all():
            raise RuntimeError("not finite")
        hashed.update(tensor.detach().contiguous().view(-1).view(torch.uint8).numpy())
    return hashed.hexdigest()


def training(name: str, seed: int, dtype: torch.dtype) -> Iterator[Tensor]:
    """Outputs and gradients of some steps of a module, and its state in the end."""
    torch.manual_seed(seed)
    module = MODULES[name]().to(dtype)
    parameters = list(module.parameters())
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9) if parameters else None
    for step in range(STEPS):
        x = sample(name, seed=seed + step).to(dtype).requires_grad_()
        y = module(x)
        weighted(y).backward()
        if optimizer is not None:
            optimizer.step()
        yield from (y, x.grad)
    yield from module.state_dict().values()


def cases(full: bool) -> Iterator[tuple[str, str, partial[Iterable[Tensor]]]]:
    """What is tried, its name, and what returns the tensors."""
    dtypes = (torch.float32, torch.float64) if full else (torch.float32,)
    for name, dtype, seed in product(MODULES, dtypes, range(3 if full else 1)):
        yield WHATS[0], f"{name}, {dtype}, seed {seed}", partial(training, name, seed, dtype)
    for cell, dtype in product(product(FUNCTIONS, METHODS, BACKWARDS), dtypes):
        arguments = (cell[0], spd(3, n=8).to(dtype), *cell[1:])
        yield WHATS[1], f"{', '.join(cell)}, {dtype}", partial(value_and_gradient, *arguments)


def digests(full: bool) -> Digests:
    """What this process comes to."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    found: Digests = {}
    for what, name, compute in cases(full):
        names = found.setdefault(what, {})
        try:
            names[name] = digest(compute())
        except RuntimeError as error:
            names[name] = f"{FAILED}, {error}"
    return found


if __name__ == "__main__":
    print(json.dumps(digests("--full" in sys.argv)))
