"""Teams of programs, all at once: a thread of the interpreter for each member.

A member that reads what another has not written yet, or writes what another still reads, gives
another result than a program that has the matrix to itself; one that is not met waits for ever.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import sleep
from typing import Any
from unittest.mock import patch

from torch import Tensor

from tests.kernels.interpreted import DOUBLINGS, LOWER, MINIMAX, SCHULZ
from tests.kernels.numpy_of_today import patch_interpreter
from tests.properties import relative_error, spd, weights_like

CASES = ((65, 3),)  # rows, members: fewer than blocks
PATIENCE = 100  # seconds
ROUNDING = 2e-5
"""Measured: 3e-6; a team adds its sums in another order."""


@contextmanager
def all_at_once() -> Iterator[None]:
    """The programs of a launch run in threads, each as a launch of its own."""
    from triton.runtime import interpreter

    one = interpreter.GridExecutor.__call__

    def run(launch: Any, *args: Any, **options: Any) -> None:
        (programs,) = launch.grid
        errors: list[BaseException] = []

        def attempt() -> None:
            try:
                one(interpreter.GridExecutor(launch.fn, launch.arg_names, (1,)), *args, **options)
            except BaseException as error:
                errors.append(error)

        threads = [Thread(target=attempt, daemon=True) for _ in range(programs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        if errors or any(thread.is_alive() for thread in threads):
            raise RuntimeError("a member waits for ever") from next(iter(errors), None)

    atomically = interpreter.InterpreterBuilder.create_atomic_rmw

    def patiently(builder: Any, operation: Any, pointer: Any, value: Any, *args: Any) -> Any:
        if not value.data.any():  # a member asks whether all have come
            sleep(1e-3)
        return atomically(builder, operation, pointer, value, *args)

    scope = interpreter._LangPatchScope  # what one thread is done with others still need
    with (
        patch.object(interpreter.GridExecutor, "__call__", run),
        patch.object(interpreter.InterpreterBuilder, "create_atomic_rmw", patiently),
        patch.object(scope, "restore"),
    ):
        yield


def results(A: Tensor, members: int) -> list[Tensor]:
    """Of the kernels, by teams of so many."""
    from covlayers.functional._iterations import team

    with patch.object(team, "team_size", return_value=members):
        found = team.launch_roots_by_team(A, MINIMAX, True, True, True, False)
        B = A / A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        found += team.launch_roots_by_team(B, SCHULZ[:6], False, False, True, False)
        g = weights_like(A)
        found.append(team.launch_gradient_by_team(*found[:2], g, g.mT, LOWER, DOUBLINGS))
    return found


def main() -> None:
    """Print the records of all cases."""
    patch_interpreter()
    sys.setswitchinterval(1e-4)
    records: list[tuple[str, float, float]] = []
    for n, members in CASES:
        A = spd(1, n=n, condition=1e2).float()
        alone = results(A, 1)
        with all_at_once():
            together = results(A, members)
        for k, (found, expected) in enumerate(zip(together, alone, strict=True)):
            error = relative_error(found, expected)
            records.append((f"result {k} of {members} members at n={n}", error, ROUNDING))
    print(json.dumps(records))


if __name__ == "__main__":
    main()
