"""Why eigendecompositions are not shared out among threads of Python.

    python -m benchmarks.thread_split [--quick] [--output FILE]

torch.linalg.eigh goes through a batch matrix by matrix. Here two threads take half of the batch
each; then the whole batch is decomposed again, in the same process. ``split`` and ``again`` are
ratios to the time before. What is gained depends on the sizes and on what else the machine does;
what it costs is that a second team of OpenMP threads can slow down the first for as long as the
process lives. Threads of one core each would need torch.set_num_threads, which changes LAPACK for
the whole process.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from benchmarks.measure import Row, milliseconds, spd
from benchmarks.record import begin, command_line, finish, parse

BATCHES = {16: 256, 64: 64, 128: 32, 256: 8}
CONDITION = 1e4


def split(pool: ThreadPoolExecutor, A: Tensor) -> tuple[Tensor, Tensor]:
    """The eigendecomposition of each half by a thread of its own."""
    values, vectors = zip(*pool.map(torch.linalg.eigh, A.chunk(2)), strict=True)
    return torch.cat(values), torch.cat(vectors)


def times(
    run: Callable[[Tensor], object], batches: Sequence[Tensor], min_time: float
) -> list[float]:
    """The median for each batch, in milliseconds."""
    return [median for median, _ in milliseconds([partial(run, A) for A in batches], min_time)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    options = parse(command_line("thread_split", "thread_split.py", __doc__, (1.0, 0.1)), arguments)
    metadata = begin(options, condition_number=CONDITION)
    generator = torch.Generator().manual_seed(0)
    batches = [spd(n, batch, CONDITION, generator).float() for n, batch in BATCHES.items()]
    plain = times(torch.linalg.eigh, batches, options.min_time)
    with ThreadPoolExecutor(2) as pool:
        halves = times(partial(split, pool), batches, options.min_time)
    again = times(torch.linalg.eigh, batches, options.min_time)
    rows: list[Row] = [
        {
            "n": A.shape[-1],
            "batch": A.shape[0],
            "plain_ms": before,
            "split_ms": during,
            "again_ms": after,
            "split_over_plain": during / before,
            "again_over_plain": after / before,
        }
        for A, before, during, after in zip(batches, plain, halves, again, strict=True)
    ]
    print(f"\n{'eigh':24}{'plain ms':>10}{'split':>10}{'again':>10}")
    for row in rows:
        title = "{batch} of {n} x {n}".format(**row)
        ratios = f"{row['split_over_plain']:>10.2f}{row['again_over_plain']:>10.2f}"
        print(f"{title:24}{row['plain_ms']:>10.2f}{ratios}")
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
