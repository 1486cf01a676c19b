"""How a GPU spends a forward and a backward pass: wall time, time of its kernels, their launches.

    python -m benchmarks.launches [--quick] [--device cpu|cuda|auto] [--output FILE]

Eager mode, float32. ``wall_ms`` is what a user waits for, ``gpu_ms`` the sum of the kernels, and
``launches`` counts kernels, copies and fills. Where ``wall_ms`` exceeds ``gpu_ms`` the host is what
takes the time. On a CPU only ``wall_ms`` has a meaning, and the other two are None.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import covlayers as cl
from benchmarks.record import begin, command_line, finish, parse
from covlayers import functional as F

FUNCTIONS = {"sqrtm": F.sqrtm, "invsqrtm": F.invsqrtm}
MATRICES = ((1024, 64), (256, 128), (64, 256))
LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "BatchNorm2d": nn.BatchNorm2d,
    "DecorrelatedBatchNorm": cl.DecorrelatedBatchNorm,
    "DecorrelatedBatchNorm, 4 groups": lambda C: cl.DecorrelatedBatchNorm(C, 4),
    "IterNorm": cl.IterNorm,
    "CovPool": cl.CovPool,
    "ISQRTCovPool": cl.ISQRTCovPool,
    "MPACovPool": cl.MPACovPool,
}
SHAPES = ((64, 64, 32, 32), (32, 256, 14, 14))


def step(function: Callable[[Tensor], Tensor], x: Tensor, *others: Tensor) -> Callable[[], Any]:
    """One forward and one backward pass."""
    x.requires_grad_()
    grad = torch.randn_like(function(x))
    return lambda: torch.autograd.grad(function(x), [x, *others], grad)


def row(what: str, shape: Sequence[int], run: Callable[[], Any], device: str) -> dict[str, Any]:
    """What a run takes."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    times = []
    for number in range(25):
        wait()
        start = time.perf_counter()
        run()
        wait()
        times += [time.perf_counter() - start] if number >= 5 else []
    found = {"what": what, "shape": list(shape), "wall_ms": round(1e3 * median(times), 3)}
    if device != "cuda":
        return found | {"gpu_ms": None, "launches": None}
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as watched:
        run()
        wait()
    on_gpu = [e for e in watched.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    total = sum(event.device_time for event in on_gpu) / 1e3
    return found | {"gpu_ms": round(total, 3), "launches": len(on_gpu)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = parse(command_line("launches", __file__, __doc__, (1.0, 0.1)), arguments)
    facts, device, rows = begin(options), options.device, []
    torch.manual_seed(0)
    for batch, n in MATRICES[: 1 if options.quick else None]:
        x = torch.randn(batch, n, 2 * n, device=device)
        A = (x @ x.mT) / (2 * n)
        for name, function in FUNCTIONS.items():
            rows.append(row(name, A.shape, step(function, A.clone()), device))
    for shape in SHAPES[: 1 if options.quick else None]:
        for name, build in LAYERS.items():
            layer = build(shape[1]).to(device)
            run = step(layer, torch.randn(shape, device=device), *layer.parameters())
            rows.append(row(name, shape, run, device))
    print(f"\n{'':34}{'':20}{'wall ms':>10}{'gpu ms':>10}{'launches':>10}")
    for one in rows:
        figures = "".join(f"{one[key]!s:>10}" for key in ("wall_ms", "gpu_ms", "launches"))
        print(f"{one['what']:34}{tuple(one['shape'])!s:20}{figures}")
    finish(options, facts, rows)


if __name__ == "__main__":
    main()
