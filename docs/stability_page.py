"""Tables of the page on numerical stability, computed with the library when the page is built.

    PYTHONPATH=. python docs/stability_page.py

Errors are relative in Frobenius norm, worst of a batch, against a float64 eigendecomposition with
the divided differences typed out (:func:`measure.reference`).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.cells import EXPONENTS, Run, eigh_powers
from benchmarks.measure import Problem, reference, relative_error, spd, symmetric
from covlayers import functional as F
from tables import short, table

N, BATCH = 48, 8  # smaller than where published methods take another way on a CPU
POWERS = (2, 4, 6, 8)  # of ten, the condition numbers
CONDITIONS = [rf"$\kappa = 10^{k}$" for k in POWERS]
FUNCTIONS = {"sqrtm": "root", "invsqrtm": "inverse root"}
PRODUCTS = {"method": "polar_express", "backward": "smith"}
CELLS = {
    "default": {},
    "`Eigh()`, `Loewner()`": {"method": "eigh", "backward": "loewner"},
    "`Eigh(refine=True)`, `Loewner()`": {"method": F.Eigh(refine=True), "backward": "loewner"},
    "`PolarExpress()`, `Smith()`": PRODUCTS,
    "`NewtonSchulz(15)`, `Autograd()`": {"method": F.NewtonSchulz(15), "backward": "autograd"},
    "`NewtonSchulz(5)`, `Autograd()`": {"method": "newton_schulz", "backward": "autograd"},
    "`Pade(5)`, `Lyapunov(8)`": {"method": "pade", "backward": "lyapunov"},
    "`Taylor(10)`, `Lyapunov(8)`": {"method": "taylor", "backward": "lyapunov"},
}
RULES = (
    *(F.Loewner(), F.ExactGaps(), F.PadeGaps(), F.LorentzianGaps()),
    *(F.TaylorGaps(100), F.TaylorGaps(9), F.PowerIteration(19), F.ClippedGaps(0.01)),
)
BY_HAND = "`torch.linalg.eigh`, autograd"


def write(folder: Path) -> None:
    """One Markdown file for each part of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in PARTS.items():
        (folder / f"{name}.md").write_text(part() + "\n")


def made() -> str:
    """By which command."""
    return (
        "`PYTHONPATH=. python docs/stability_page.py` prints these tables; here they are "
        f"from torch {torch.__version__} on a CPU."
    )


def by_hand(function: str) -> Run:
    """What one writes with torch alone."""
    return partial(eigh_powers, exponents=EXPONENTS[function])


def brief(error: float | None) -> str:
    """One digit and the power of ten on one line, or a dash for none."""
    return "–" if error is None else short(error).replace("-", "\N{NON-BREAKING HYPHEN}")


def errors(problem: Problem, run: Run) -> tuple[str, str]:
    """Of the value and of the gradient."""
    (value,), gradient = problem.values_and_gradient(run)
    of_value = relative_error(value, problem.values[0])
    return brief(of_value), brief(relative_error(symmetric(gradient), problem.gradient))


def accuracy(function: str) -> str:
    """Each method with a rule, in float32, by condition number."""
    runs = {name: partial(getattr(F, function), **options) for name, options in CELLS.items()}
    runs[BY_HAND] = by_hand(function)
    if function == "sqrtm" and hasattr(torch.linalg, "matrix_sqrth"):
        runs["`torch.linalg.matrix_sqrth`"] = torch.linalg.matrix_sqrth
    problems = [
        Problem.random(function, N, BATCH, condition=10.0**k, seed=0, device="cpu") for k in POWERS
    ]
    rows = (
        (name, *(",\N{NO-BREAK SPACE}".join(errors(one, run)) for one in problems))
        for name, run in runs.items()
    )
    return table(("value, gradient", *CONDITIONS), rows)


def rounding() -> str:
    """How far the roots move when the matrix is rounded, and nothing else."""
    rows = (
        (f"`{dtype}`", words, *(moved(function, 10.0**k, dtype) for k in POWERS))
        for function, words in FUNCTIONS.items()
        for dtype in (torch.bfloat16, torch.float16, torch.float32)
    )
    return table(("rounded to", "", *CONDITIONS), rows, words=2)


def moved(function: str, condition: float, dtype: torch.dtype) -> str:
    """The change of the function; a dash where a rounded matrix is not positive definite."""
    A = spd(N, BATCH, condition, torch.Generator().manual_seed(0))
    (before,), _ = reference(function, A, [A])
    (after,), _ = reference(function, A.to(dtype), [A])
    return brief(relative_error(after, before))


def problem_of(function: str, A: Tensor) -> Problem:
    """Matrices in float32, and a gradient from above that is drawn at random."""
    A = A.float()
    weights = symmetric(torch.randn(A.shape, generator=torch.Generator().manual_seed(1)))
    values, gradient = reference(function, A, [weights])
    return Problem(function, A.requires_grad_(), (weights,), values, gradient)


def ties() -> str:
    """The gradient of the root where two eigenvalues come close."""
    gaps = (1e-1, 1e-2, 1e-3, 1e-5, 0.0)
    runs = {f"`{rule}`": partial(F.sqrtm, method="eigh", backward=rule) for rule in RULES}
    runs[BY_HAND] = by_hand("sqrtm")
    problems = [problem_of("sqrtm", nearly_tied(gap)) for gap in gaps]
    rows = ((name, *(errors(one, run)[1] for one in problems)) for name, run in runs.items())
    return table(("relative gap", *(f"{gap:g}" for gap in gaps)), rows)


def nearly_tied(gap: float) -> Tensor:
    """Eigenvalues 1 and 1 - gap, and three of a quarter, a sixteenth, a sixty-fourth."""
    values = torch.tensor([1, 1 - gap, 1 / 4, 1 / 16, 1 / 64], dtype=torch.float64)
    noise = torch.randn(BATCH, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    rotation = torch.linalg.qr(noise).Q
    return symmetric((rotation * values) @ rotation.mT)


def scales() -> str:
    """The same matrix, tiny and huge."""
    powers = (-20, -10, 0, 10, 20)
    A = spd(N, BATCH, 1e2, torch.Generator().manual_seed(0))
    rows = []
    for name, options in (("default", {}), ("`PolarExpress()`, `Smith()`", PRODUCTS)):
        for function, words in FUNCTIONS.items():
            run = partial(getattr(F, function), **options)
            found = [errors(problem_of(function, 10.0**k * A), run) for k in powers]
            values, gradients = zip(*found, strict=True)
            rows += [(name, words, *values), (name, f"{words}, gradient", *gradients)]
    return table(("", "", *(f"$10^{{{k}}}$" for k in powers)), rows, words=2)


def hostile() -> str:
    """What comes out of what should not come in, value and gradient."""
    generator = torch.Generator().manual_seed(0)
    A = spd(6, 1, 1e1, generator).float()
    features = torch.randn(1, 64, 32, generator=generator)
    inputs = {
        "the identity": torch.eye(6)[None],
        "zero": torch.zeros(1, 6, 6),
        "rank one": torch.ones(1, 6, 6),
        "32 samples of 64 channels": F.covariance(features),
        "entries of 1e-20": 1e-20 * A,
        "entries of 1e20": 1e20 * A,
        "beside a matrix of NaN": torch.cat([A, torch.nan * A]),
        "indefinite": A - 0.5 * torch.eye(6),
    }
    rows = (
        (name, *(outcome(run, A) for f in FUNCTIONS for run in (getattr(F, f), by_hand(f))))
        for name, A in inputs.items()
    )
    columns = (f"{w}, {by}" for w in FUNCTIONS.values() for by in ("here", "torch alone"))
    return table(("", *columns), rows, words=5)


def outcome(run: Run, A: Tensor) -> str:
    """Value and gradient of the first matrix of a batch, in one word where they are alike."""
    A = A.clone().requires_grad_()
    weights = symmetric(torch.randn(A.shape, generator=torch.Generator().manual_seed(1)))
    try:
        outputs = run(A)
        value = outputs if isinstance(outputs, Tensor) else outputs[0]
        (gradient,) = torch.autograd.grad(value, A, weights)
    except torch.linalg.LinAlgError:
        return "raises"
    return ", ".join(dict.fromkeys((word(value[0]), word(gradient[0]))))


def word(X: Tensor) -> str:
    """Finite, infinite or NaN."""
    if X.isnan().any():
        return "NaN"
    return "finite" if X.isfinite().all() else "infinite"


def regularised() -> str:
    """The inverse root of a covariance from too few samples, with something on its diagonal."""
    x = torch.randn(BATCH, 64, 32, generator=torch.Generator().manual_seed(0))
    options = [("eps", value) for value in (0, 1e-5, 1e-3, 1e-1)]
    options += [("shrinkage", value) for value in (1e-3, 1e-2, 1e-1)]
    rows = []
    for name, value in options:
        problem = problem_of("invsqrtm", F.covariance(x.double(), **{name: value}))
        values = torch.linalg.eigvalsh(problem.A.detach().double())
        condition = (values[:, -1] / values[:, 0]).amax().item()
        gain = torch.linalg.matrix_norm(F.invsqrtm(problem.A.detach()), 2).amax().item()
        shown = brief(condition if values.min() > 0 else None), f"{gain:.0f}"
        rows.append((f"`{name}={value:g}`", *shown, *errors(problem, F.invsqrtm)))
    return table(("", r"$\kappa$", "largest gain", "value error", "gradient error"), rows)


PARTS: dict[str, Callable[[], str]] = {
    "made": made,
    "rounding": rounding,
    **{function: partial(accuracy, function) for function in FUNCTIONS},
    "ties": ties,
    "scales": scales,
    "hostile": hostile,
    "regularised": regularised,
}

if __name__ == "__main__":
    for name, part in PARTS.items():
        print(f"{name}\n\n{part()}\n")
