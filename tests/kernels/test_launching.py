"""The short way to a compiled kernel runs what Triton would run, with the same arguments."""

from itertools import product
from typing import Any

import pytest
import torch

from covlayers.functional._base.launching import launch
from tests.kernels.test_compiled_for_gpus import NoGPU

triton = pytest.importorskip("triton")  # torch brings it on Linux only
tl = triton.language

RUNS: list[tuple[object, tuple[object, ...]]] = []  # what ran, and with what


class Launcher:
    """One for each compiled kernel: it writes down that it was called."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.launch_cooperative_grid = self.launch_pdl = False

    def __call__(self, *args: Any) -> None:
        grid, kernel_arguments = args[:3], args[9:]
        RUNS.append((self, (*grid, *map(id_or_value, kernel_arguments))))


def id_or_value(argument: object) -> object:
    """Tensors are compared as objects."""
    return id(argument) if isinstance(argument, torch.Tensor) else argument


class Loader:
    """What a driver says of a kernel that it has loaded: as for one that fits."""

    @staticmethod
    def get_device_properties(device: int) -> dict[str, int]:
        """As of a large GPU."""
        return {"max_shared_mem": 2**17}

    @staticmethod
    def load_binary(*_: object) -> tuple[int, int, int, int, int]:
        """Module, function, registers, spills and threads at most."""
        return 1, 2, 32, 0, 1024


class Recorder(NoGPU):
    """A driver whose kernels are written down in place of run."""

    utils = Loader
    launcher_cls = Launcher


@triton.jit
def kernel(x, y, n, strides, factor, TWICE: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]  # Triton has no types
    k = tl.arange(0, WIDTH)
    value = factor * n
    if y is not None:
        value += tl.load(y + k * strides[1])
    tl.store(x + k * strides[0], value * (2 if TWICE else 1))


MEMORY = torch.zeros(64)
BASE = {
    "x": MEMORY,
    "y": MEMORY,
    "n": 32,
    "strides": (16, 2),
    "factor": 0.5,
    "TWICE": False,
    "WIDTH": 16,
    "num_warps": 1,
}
OTHERS: dict[str, tuple[Any, ...]] = {
    "x": (MEMORY[1:], MEMORY[4:], MEMORY.half(), MEMORY.half()[1:]),
    "y": (None, MEMORY[2:]),
    "n": (1, 2, 16, 33, 2**31 - 1, 2**31, 2**40 + 1),
    "strides": ((1, 2), (16, 1), (16, 16), (3, 5)),
    "factor": (1.0, 16.0),
    "TWICE": (True,),
    "WIDTH": (32,),
    "num_warps": (2,),
}
CASES = [BASE, *[BASE | {name: one} for name, some in OTHERS.items() for one in some]]
CALLS = [*product(CASES, ((5,), (5, 4), (5, 4, 3)))]  # with their grids


def test_runs_what_triton_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton.runtime.driver, "_active", Recorder(90))
    by_triton = []
    for case, grid in CALLS:
        kernel[grid](**case)
        by_triton.append(RUNS[-1])
    for _ in range(2):  # the first time it is kept, the second time found
        for (case, grid), expected in zip(CALLS, by_triton, strict=True):
            x, y, n, strides, factor, *_ = case.values()
            constants = {name: case[name] for name in ("WIDTH", "num_warps")}
            launch(kernel, grid, (x, y), (n, strides, factor, case["TWICE"]), **constants)
            assert RUNS[-1] == expected, (case, grid)
    assert len({launcher for launcher, _ in by_triton}) >= 12  # they are not all one


def test_the_second_launch_does_not_ask_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton.runtime.driver, "_active", Recorder(90))
    x = torch.zeros(16)
    arguments = (x, None), (7, (1, 1), 0.25, False)
    launch(kernel, (1,), *arguments, WIDTH=16)
    monkeypatch.setattr(triton.runtime.jit.JITFunction, "run", None)
    before = len(RUNS)
    launch(kernel, (1,), *arguments, WIDTH=16)
    assert len(RUNS) == before + 1
