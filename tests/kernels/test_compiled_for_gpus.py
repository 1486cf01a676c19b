"""Every operator compiles its kernels for real GPUs, without one, as its launches ask for them."""

from contextlib import nullcontext
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._iterations.launches import launches_of_root_gradient, launches_of_roots

triton = pytest.importorskip("triton")  # torch brings it on Linux only

CAPABILITIES = (80, 90, 120)  # Ampere, Hopper, Blackwell
SHARED = 80 * 1024  # bytes of a program; every GPU of these has 99 KB
MINIMAX = [1.875, -1.25, 0.375] * 7
SCHULZ = [1.5, -0.5, 0.0] * 5


class NoGPU:
    """What Triton asks of a driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_device(self) -> int:
        """Its number: Triton keeps what it compiled for each."""
        return self.capability

    def get_current_stream(self, device: int) -> int:
        """The default one."""
        return 0

    def get_current_target(self) -> Any:
        """What is compiled for."""
        return triton.backends.compiler.GPUTarget("cuda", self.capability, 32)


@pytest.fixture(params=CAPABILITIES)
def launches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The kernels that are launched, compiled and nothing more."""
    compiled: list[Any] = []

    def launcher(kernel: Any, grid: Any) -> Any:
        return lambda *args, **options: compiled.append(
            kernel.run(*args, grid=grid, warmup=True, **options)
        )

    monkeypatch.setattr(triton.runtime.jit.JITFunction, "__getitem__", launcher)
    monkeypatch.setattr(torch.cuda, "device_of", lambda A: nullcontext())
    team = pytest.importorskip("covlayers.functional._iterations.team")
    monkeypatch.setattr(team, "multiprocessors", lambda device: 16)
    monkeypatch.setattr(triton.runtime.driver, "_active", NoGPU(request.param))
    return compiled


def calls(n: int) -> dict[str, tuple[Any, ...]]:
    """What is launched, with all arguments."""
    from covlayers.functional._iterations import launch, launch_published

    A = torch.eye(n).repeat(3, 1, 1)
    scale, g = torch.ones(3, 1, 1), torch.ones(()).expand_as(A)  # as the gradient of a sum
    return {
        "symmetric_part": (launch.launch_symmetric_part, A.mT),
        "both roots": (launch.launch_roots, A, MINIMAX, True, True, True, True),
        "mended root": (launch.launch_roots, A, MINIMAX, True, True, False, True),
        "root": (launch.launch_roots, A, MINIMAX, True, True, False),
        "Newton-Schulz": (launch.launch_roots, A, SCHULZ, False, False, True),
        "gradient of both": (launch.launch_root_gradient, A, A, g, A.mT, 1e-3, 7),
        "gradient of the root": (launch.launch_root_gradient, A, None, g, None, 1e-3, 7),
        "gradient of the inverse": (launch.launch_root_gradient, A, A, None, g, 1e-3, 7),
        "published": (launch_published.launch_newton_schulz, A, 5, True, True),
        "Taylor": (launch_published.launch_approximants, A, [0.5] * 11, [0.5] * 11, False),
        "Padé": (launch_published.launch_approximants, A, [0.5] * 5, [0.5] * 5, True),
        "published gradient": (
            *(launch_published.launch_newton_schulz_gradient, A, scale, g, A.mT, 5),
        ),
        "smith": (launch.launch_smith, A, A, scale, 1e-3, 7),
        "sign": (launch.launch_sign, A, A, scale, 8),
    }


# Of a small size all, of the larger those that take most of a GPU.
LARGE = ("both roots", "gradient of both")
PUBLISHED = ("published", "published gradient", "Taylor", "Padé")
CASES = [
    *product((5,), calls(5)),
    *product((64,), LARGE + PUBLISHED),
    *product((256,), LARGE),
    (192, "Newton-Schulz"),
]
COUNTS = {"launch_roots": launches_of_roots, "launch_root_gradient": launches_of_root_gradient}


@pytest.mark.parametrize(("n", "name"), CASES)
def test_compiles(n: int, name: str, launches: Any) -> None:
    launch, *args = calls(n)[name]
    results = launch(*args)
    for result in results if isinstance(results, list) else [results]:
        assert result.shape in ((3, n, n), (3, 1, 1))
        assert result.is_contiguous()
    count = COUNTS.get(launch.__name__, lambda *_: 1)(*args)  # as the benchmarks count them
    zeros = launch.__name__ in COUNTS and n > tuning.LARGEST_ON_CHIP  # which torch writes
    assert len(launches) == count - zeros
    for kernel in {id(kernel): kernel for kernel in launches}.values():
        assert kernel.metadata.shared <= SHARED
        assert kernel.asm["cubin"]
    if zeros:  # a team writes before it meets, and reads behind it what others have written
        assert "atom.global.gpu.acq_rel.add" in launches[0].asm["ptx"]
        assert "ld.global.gpu.acquire" in launches[0].asm["ptx"]


def test_nothing_is_launched_for_an_empty_batch(launches: Any) -> None:
    for launch, *args in (call for n in (5, 100, 200) for call in calls(n).values()):
        launch(*(arg[:0] if isinstance(arg, Tensor) else arg for arg in args))
    assert launches == []
