"""What holds of a matrix root besides its speed, here and elsewhere, each tried on the spot.

    python -m benchmarks.guarantees [--output FILE]

Prints the table of the README. ``yes`` says that it holds for the root and, where there is one, for
the inverse root; anything else is what happened first.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from benchmarks.cells import Run, eigh_powers, pyriemann, spd_learn
from benchmarks.measure import Row, spd
from benchmarks.record import begin, command_line, finish, parse
from covlayers import functional as F

CONDITION = 10.0
N = 5


def symmetric(run: Run) -> Run:
    """``run`` on the symmetric part, so that finite differences stay among symmetric matrices."""
    return lambda A: run((A + A.mT) / 2)


def matrices(batch: int = 3) -> Tensor:
    """Well-conditioned, in float64."""
    return spd(N, batch, CONDITION, torch.Generator().manual_seed(0))


def gradient(run: Run, A: Tensor, order: int = 1) -> Tensor:
    """The gradient of the sum of squares of the finite entries."""
    A = A.clone().requires_grad_()
    out = run(A).nan_to_num().square().sum()
    for _ in range(order):
        (grad,) = torch.autograd.grad(out, A, create_graph=True)
        out = grad.sum()
    return grad.detach()


def finite_gradient(A: Tensor, order: int = 1) -> Callable[[Run], bool]:
    """Value and gradient have no NaN and no infinity."""
    return lambda run: bool(run(A).isfinite().all() and gradient(run, A, order).isfinite().all())


def neighbours_of_nan_are_whole(run: Run) -> bool:
    """A matrix of NaN spoils neither value nor gradient of the one beside it."""
    sound = matrices(2)
    spoilt = sound.clone()
    spoilt[1] = torch.nan
    value = torch.equal(run(spoilt)[0], run(sound)[0])
    return value and torch.allclose(gradient(run, spoilt)[0], gradient(run, sound)[0])


def forward_mode(run: Run) -> bool:
    """The directional derivative agrees with central differences."""
    A = matrices()
    tangent = torch.func.jvp(run, (A,), (A,))[1]
    step = 1e-6
    return torch.allclose(tangent, (run(A + step * A) - run(A - step * A)) / (2 * step), rtol=1e-6)


def under_vmap(run: Run) -> bool:
    """A batch by vmap is the batch."""
    A = matrices()
    return torch.allclose(torch.func.vmap(run)(A), run(A))


def half_precision(run: Run) -> bool:
    """bfloat16 in, bfloat16 out, off by its own rounding alone."""
    A = matrices()
    rounded = A.bfloat16()
    out = run(rounded)
    return out.dtype == torch.bfloat16 and torch.allclose(
        out.double(), run(rounded.double()), rtol=2**-8, atol=2**-8
    )


def compiled(run: Run) -> bool:
    """One graph, with the same gradient."""
    torch._dynamo.reset()  # what others have compiled counts towards a limit
    A = matrices()
    whole = torch.compile(run, fullgraph=True, backend="aot_eager")
    return torch.allclose(gradient(whole, A), gradient(run, A))


def indefinite_is_noticed(run: Run) -> bool:
    """A matrix with a negative eigenvalue, which has no real root, raises or gives NaN."""
    sound = torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)).expand(2, 3, 3)
    if not run(sound).isfinite().all():
        return False
    try:
        return not run(sound - 2.5 * torch.eye(3, dtype=torch.float64)).isfinite().all()
    except Exception:  # whatever it is, it tells
        return True


def scale_does_not_matter(run: Run) -> bool:
    """In float32 the root of 1e-10 A is 1e-5 times the root of A; the inverse root, 1e5 times."""
    A = torch.diag(torch.tensor([1.0, 2.0, 4.0])).expand(2, 3, 3)
    ratio = (run(1e-10 * A) / run(A)).diagonal(dim1=-2, dim2=-1)
    return any(torch.allclose(ratio, torch.full_like(ratio, s), rtol=1e-5) for s in (1e-5, 1e5))


def right_gradient(check: Callable[..., bool]) -> Callable[[Run], bool]:
    """Whether a derivative agrees with finite differences."""
    return lambda run: check(
        symmetric(run), matrices(1).requires_grad_(), raise_exception=False, fast_mode=False
    )


EQUAL = torch.eye(4, dtype=torch.float64).expand(2, 4, 4)
RANK_ONE = torch.ones(2, 4, 4, dtype=torch.float64)
PROPERTIES: Mapping[str, Callable[[Run], bool]] = {
    "right gradient": right_gradient(gradcheck),
    "right second derivative": right_gradient(gradgradcheck),
    "finite gradient at equal eigenvalues": finite_gradient(EQUAL),
    "finite second derivative there": finite_gradient(EQUAL, order=2),
    "finite gradient of a zero matrix": finite_gradient(torch.zeros(2, 4, 4)),
    "finite gradient at rank one": finite_gradient(RANK_ONE),
    "a NaN matrix leaves its neighbours whole": neighbours_of_nan_are_whole,
    "an indefinite matrix is noticed": indefinite_is_noticed,
    "digits of a matrix as small as 1e-10, float32": scale_does_not_matter,
    "forward-mode derivative": forward_mode,
    "`torch.func.vmap`": under_vmap,
    "bfloat16 in and out": half_precision,
    "`torch.compile`, one graph": compiled,
}


def implementations() -> dict[str, list[Run]]:
    """The root, and the inverse root where there is one."""
    roots = {
        "covlayers": [F.sqrtm, F.invsqrtm],
        "`torch.linalg.eigh` + autograd": [
            lambda A, p=p: eigh_powers(A, exponents=(p,))[0] for p in (0.5, -0.5)
        ],
        "spd_learn": [spd_learn("sqrtm"), spd_learn("invsqrtm")],
        "pyRiemann": [pyriemann("sqrtm"), pyriemann("invsqrtm")],
    }
    if hasattr(torch.linalg, "matrix_sqrth"):
        roots["`torch.linalg.matrix_sqrth`"] = [torch.linalg.matrix_sqrth]
    return roots


def outcome(holds: Callable[[Run], bool], runs: Sequence[Run]) -> str:
    """``yes``, ``no``, or that it raised."""
    try:
        return "yes" if all(holds(run) for run in runs) else "no"
    except Exception:  # whatever a peer raises is its outcome
        return "raises"


def table(rows: Sequence[Row]) -> str:
    """Markdown: a line for each property."""
    names = list(dict.fromkeys(row["implementation"] for row in rows))
    found = {(row["property"], row["implementation"]): row["outcome"] for row in rows}
    lines = [["", *names], ["---"] * (1 + len(names))]
    lines += [[what, *(found[what, name] for name in names)] for what in PROPERTIES]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Try, print, write."""
    options = parse(command_line("guarantees", "guarantees.py", __doc__, (1.0, 1.0)), arguments)
    metadata = begin(options, condition_number=CONDITION)
    rows = [
        {"property": what, "implementation": name, "outcome": outcome(holds, runs)}
        for what, holds in PROPERTIES.items()
        for name, runs in implementations().items()
    ]
    print(f"\n{table(rows)}")
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
