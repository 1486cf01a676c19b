"""The price of a call: operations dispatched, and host time on inputs too small to take any.

    python -m benchmarks.overhead [--quick] [--device cpu|cuda|auto] [--min-time S] [--output FILE]

Operations are counted as an NVIDIA GPU is given them, the kernels of this library included, and as
one thread of a CPU is; ``operations.py`` says what counts. For the times each call takes turns with
what a user would write in its place (``zoo.py``, ``by_hand.py``), on one thread. Counted is the
time of the processor, whatever else it does in between, in the fastest block of each. A step is one
forward and one backward pass. The exit status is 0 whether a target is met or not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter, process_time

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks import by_hand
from benchmarks.measure import BLOCK_S, Row
from benchmarks.operations import as_on_a_gpu, operations, parameters
from benchmarks.record import begin, command_line, finish, parse
from benchmarks.schemas import SCHEMAS
from benchmarks.zoo import CHANNELS, CONDITION, MAPS, Run, Shape, inputs, placed, zoo
from covlayers import functional as F

ENTRIES = SCHEMAS["overhead"]["rows"].split()
MATRICES = ((1, 4, 4), (8, 16, 16))
# What a call may take, as a multiple of what a user would write.
TARGETS = {
    ("sqrtm", "forward"): 3.0,
    ("sqrtm", "step"): 1.2,
    ("invsqrtm", "step"): 1.5,
    ("DecorrelatedBatchNorm", "step"): 8.0,
    ("DecorrelatedBatchNorm", "evaluation"): 3.0,
    ("CovPool", "step"): 1.3,
}
COUNTED: tuple[tuple[str, Callable[[], Run], Shape], ...] = (
    ("sqrtm", lambda: F.sqrtm, (4, 64, 64)),
    ("sqrtm", lambda: F.sqrtm, (4, 128, 128)),
    ("invsqrtm", lambda: F.invsqrtm, (4, 64, 64)),
    ("invsqrtm", lambda: F.invsqrtm, (4, 128, 128)),
    ("DecorrelatedBatchNorm", lambda: cl.DecorrelatedBatchNorm(64), (4, 64, 8, 8)),
    ("IterNorm", lambda: cl.IterNorm(64), (4, 64, 8, 8)),
    ("CovPool", lambda: cl.CovPool(256), (4, 256, 7, 7)),
    ("MPACovPool", lambda: cl.MPACovPool(256), (4, 256, 7, 7)),
)


def counts() -> Iterator[Row]:
    """The operations of each layer, as on a GPU and on a CPU."""
    subjects = [(name, build(), (shape,)) for name, build, shape in COUNTED]
    subjects += [(layer.name, layer.run, layer.shapes) for layer in zoo()]
    for name, run, shapes in subjects:
        on_cpu = operations(run, inputs(shapes, "cpu"))
        on_gpu: tuple[int | None, int | None] = (None, None)
        if not hasattr(run, "fit"):  # which looks at what it was fitted to: a meta tensor has none
            with as_on_a_gpu():
                on_gpu = operations(placed(run, "meta"), inputs(shapes, "meta"))
        yield dict.fromkeys(ENTRIES) | {
            "part": "operations",
            "what": name,
            "shape": list(shapes[0]),
            "gpu_forward": on_gpu[0],
            "gpu_backward": on_gpu[1],
            "cpu_forward": on_cpu[0],
            "cpu_backward": on_cpu[1],
        }


def matrix_functions(device: str, min_time: float) -> Iterator[Row]:
    """The roots against the four lines."""
    pairs: dict[str, tuple[Run, Run]] = {
        "sqrtm": (F.sqrtm, by_hand.root),
        "invsqrtm": (F.invsqrtm, by_hand.inverse_root),
    }
    for shape in MATRICES:
        A = inputs((shape,), device)
        for name, (own, peer) in pairs.items():
            for step in ("forward", "step"):
                yield from compared(name, step, own, {"eigh by hand": peer}, A, min_time)


def evaluation(device: str, min_time: float) -> Iterator[Row]:
    """Whitening by the running averages."""
    own, peer = cl.DecorrelatedBatchNorm(CHANNELS), nn.BatchNorm2d(CHANNELS)
    x = inputs((MAPS,), device)
    run = placed(own, device).eval()
    peers = {"BatchNorm2d": placed(peer, device).eval()}
    yield from compared("DecorrelatedBatchNorm", "evaluation", run, peers, x, min_time)


def layers(device: str, min_time: float) -> Iterator[Row]:
    """A step of each layer."""
    for layer in zoo():
        peers = {name: placed(peer, device) for name, peer in layer.peers.items()}
        run, x = placed(layer.run, device), inputs(layer.shapes, device)
        yield from compared(layer.name, "step", run, peers, x, min_time)


def compared(
    what: str, step: str, own: Run, peers: Mapping[str, Run], x: Sequence[Tensor], min_time: float
) -> Iterator[Row]:
    """One row for each counterpart, all of them in turns."""
    timed = trained if step == "step" else untrained
    own_us, *others = fastest([timed(run, x) for run in (own, *peers.values())], min_time)
    for against, against_us in zip(peers, others, strict=True):
        yield dict.fromkeys(ENTRIES) | {
            "part": "times",
            "what": what,
            "shape": list(x[0].shape),
            "step": step,
            "against": against,
            "own_us": own_us,
            "against_us": against_us,
            "ratio": own_us / against_us,
            "at_most": None if against == "mean" else TARGETS.get((what, step)),
        }


def untrained(run: Run, x: Sequence[Tensor]) -> Callable[[], object]:
    """A forward pass that keeps nothing."""
    return torch.no_grad()(partial(run, *x))


def trained(run: Run, x: Sequence[Tensor]) -> Callable[[], object]:
    """A forward and a backward pass."""
    sources = [*x, *parameters(run)]
    above = torch.ones_like(run(*x))
    return lambda: torch.autograd.grad(run(*x), sources, above, allow_unused=True)


def fastest(steps: Sequence[Callable[[], object]], min_time: float) -> list[float]:
    """Microseconds a call of the fastest block of each step, in turns of one block."""
    blocks = [max(1, int(BLOCK_S / host_seconds(step, 1))) for step in steps]
    best = [float("inf")] * len(steps)
    end = perf_counter() + min_time * len(steps)
    while perf_counter() < end or float("inf") in best:
        times = [host_seconds(step, calls) for step, calls in zip(steps, blocks, strict=True)]
        best = list(map(min, best, times))
    return [1e6 * s for s in best]


def host_seconds(step: Callable[[], object], calls: int) -> float:
    """The processor's time for one call, the mean over a block of them."""
    step()  # the others have left its caches cold
    start = process_time()
    for _ in range(calls):
        step()
    return (process_time() - start) / calls


def line(row: Row) -> str:
    """One ratio or one count as aligned text."""
    title = f"{row['what']:26}{(*row['shape'],)!s:20}"
    if row["part"] == "operations":
        keys = ("gpu_forward", "gpu_backward", "cpu_forward", "cpu_backward")
        return title + "".join(f"{'-' if row[key] is None else row[key]:>14}" for key in keys)
    target = "" if row["at_most"] is None else f"{row['at_most']:>10.1f}"
    times = f"{row['own_us']:>10.1f}{row['against_us']:>10.1f}{row['ratio']:>8.2f}"
    return f"{title}{row['step']:12}{row['against']:30}{times}{target}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, measure, print, write."""
    options = parse(command_line("overhead", "overhead.py", __doc__, (1.0, 0.05)), arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        metadata = begin(options, condition_number=CONDITION)
        rows = list(counts())
        headings = ("gpu forward", "backward", "cpu forward", "backward")
        print("\n" + " " * 46 + "".join(f"{heading:>14}" for heading in headings))
        print("\n".join(map(line, rows)), flush=True)
        print(f"\n{'':46}{'':12}{'':30}{'own us':>10}{'peer us':>10}{'ratio':>8}{'target':>10}")
        for part in (matrix_functions, evaluation, layers):
            for row in part(options.device, options.min_time):
                print(line(row), flush=True)
                rows.append(row)
    finally:
        torch.set_num_threads(threads)
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
