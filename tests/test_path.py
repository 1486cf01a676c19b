"""How long the path of one tensor is: functions of the library that a call runs, and their files.

``python -m tests.test_path`` prints every path, callees under their callers.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
import torch
from torch import Tensor

import covlayers as cl
from covlayers import functional as F

LIBRARY = str(Path(cl.__file__).parent) + os.sep
# The most calls, files and entered autocast contexts.
BOUNDS = {
    "MPACovPool forward": (45, 10, 1),
    "MPACovPool backward": (18, 7, 1),
    "MPACovPool of few positions forward": (45, 15, 1),
    "MPACovPool of few positions backward": (18, 7, 1),
    "DecorrelatedBatchNorm forward": (50, 14, 1),
    "sqrtm with gradient": (20, 8, 1),
    "sqrtm without gradient": (20, 8, 1),
}
THREADS = (1, 2)  # a layer may choose another method by their number


@dataclass
class Trace:
    """The calls into the library in order, as depth, file and name; none of those in brackets.

    Those are comprehensions, generator expressions and lambdas: ``<listcomp>``.
    """

    calls: list[tuple[int, str, str]] = field(default_factory=list)
    contexts: int = 0
    depth: int = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """What sys.setprofile calls."""
        if _own(frame):
            if event == "call":
                file = frame.f_code.co_filename.removeprefix(LIBRARY)
                self.calls.append((self.depth, file, frame.f_code.co_qualname))
            self.depth += {"call": 1, "return": -1}.get(event, 0)
        elif event == "call" and frame.f_code is torch.autocast.__enter__.__code__:
            self.contexts += _inside(frame.f_back)

    @property
    def length(self) -> tuple[int, int, int]:
        """Calls, files and contexts."""
        return len(self.calls), len({file for _, file, _ in self.calls}), self.contexts


def _inside(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_code.co_filename.startswith(LIBRARY)


def _own(frame: FrameType) -> bool:
    return not frame.f_code.co_name.startswith("<") and _inside(frame)


def traced(run: Callable[[], object]) -> Trace:
    """The path of a run."""
    trace = Trace()
    sys.setprofile(trace)
    try:
        run()
    finally:
        sys.setprofile(None)
    return trace


@contextmanager
def threads(count: int) -> Iterator[None]:
    """``count`` threads, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def subject(case: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """What is called, and with what."""
    if case.startswith("MPACovPool of few"):
        return cl.MPACovPool(), torch.randn(8, 128, 7, 7)
    if case.startswith("MPACovPool"):
        return cl.MPACovPool(), torch.randn(8, 64, 7, 7)
    if case.startswith("DecorrelatedBatchNorm"):
        return cl.DecorrelatedBatchNorm(16), torch.randn(8, 16, 4, 4)
    return F.sqrtm, torch.diag(torch.arange(1.0, 5.0))


def path(case: str, count: int, autocast: bool = False) -> Trace:
    """The path of the second call, as the first may fill caches."""
    function, x = subject(case)
    x.requires_grad_("without gradient" not in case)

    def forward() -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16) if autocast else nullcontext():
            return function(x)

    def backward(y: Tensor) -> None:
        torch.autograd.grad(y, x, torch.ones_like(y))

    with threads(count):
        y = forward()
        if "backward" not in case:
            return traced(forward)
        backward(forward())
        return traced(partial(backward, y))


@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@pytest.mark.parametrize("count", THREADS)
@pytest.mark.parametrize("case", BOUNDS)
def test_the_path_is_short(case: str, count: int, autocast: bool) -> None:
    length = path(case, count, autocast).length
    assert all(n <= bound for n, bound in zip(length, BOUNDS[case], strict=True)), length


def test_calls_files_and_contexts_are_seen() -> None:
    source = """
def outer(autocast):
    with autocast("cpu", enabled=False):
        return [inner(n) for n in range(2)]

def inner(n):
    return (lambda: n)()
"""
    names: dict[str, Callable[[object], object]] = {}
    exec(compile(source, LIBRARY + "tried.py", "exec"), names)
    trace = traced(lambda: names["outer"](torch.autocast))
    assert trace.calls == [(0, "tried.py", "outer"), *2 * [(1, "tried.py", "inner")]]
    assert trace.length == (3, 1, 1)


def main() -> None:
    """Print every path."""
    for case in BOUNDS:
        for count in THREADS:
            trace = path(case, count)
            lengths = "{} calls in {} files, autocast contexts: {}".format(*trace.length)
            bounds = "{} in {}, {}".format(*BOUNDS[case])
            print(f"\n{case}, threads: {count}: {lengths} (at most {bounds})")
            for depth, file, name in trace.calls:
                print(f"  {file:44}{'  ' * depth}{name}")


if __name__ == "__main__":
    main()
