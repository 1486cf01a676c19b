"""Every way through a degenerate matrix: our ways with what each promises, and other libraries'."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import product

import torch
from mpmath import mpf
from torch import Tensor

from benchmarks.cells import EXPONENTS, eigh_powers
from benchmarks.published import PUBLISHED
from covlayers import functional as F
from tests.functional.degenerate_spectra.families import distinct, raised
from tests.functional.degenerate_spectra.fifty_digits import FUNCTIONS as SCALARS
from tests.properties import weights_like

Outputs = Tensor | tuple[Tensor, ...]
Run = Callable[[Tensor], Outputs]
Result = tuple[Tensor, Tensor]  # what came out, one after the other, and the gradient

METHODS = {**{name: name for name in F.METHODS}, "eigh, refined": F.Eigh(refine=True)}
SPECTRAL = ("auto", "eigh", "eigh, refined")
ROOTS = {"sqrtm": F.sqrtm, "invsqrtm": F.invsqrtm}
FUNCTIONS: dict[str, Callable[..., Outputs]] = {
    **ROOTS,
    "sqrtm_and_invsqrtm": F.sqrtm_and_invsqrtm,
    "logm": F.logm,
    **{f"powm, {name}": partial(F.powm, p=p) for name, p in (("1/3", 1 / 3), ("-1", -1), ("2", 2))},
}
OTHERS = tuple(name for name in FUNCTIONS if "sqrtm" not in name)
FOR_ROOTS = ("lyapunov", "smith", "unrolled")
GAP_RULES = [name for name, rule in F.BACKWARDS.items() if isinstance(rule(), F.GapRule)]


@dataclass(frozen=True)
class Cell:
    """A function, by a method with a rule."""

    function: str
    method: str
    backward: str

    def __str__(self) -> str:
        return f"{self.function}, {self.method}, {self.backward}"

    def run(self, A: Tensor) -> Outputs:
        call = FUNCTIONS[self.function]
        return call(A, method=METHODS[self.method], backward=self.backward)

    def through_eigenvectors(self) -> bool:
        """Whether it is PyTorch's own derivative, for which nothing is promised at ties."""
        return self.backward == "autograd" and self.method in SPECTRAL

    def promises(self, A: Tensor) -> tuple[bool, bool]:
        """A finite value and a finite gradient: where the dtype has the numbers."""
        value, slope = have_numbers(self.function, A)
        return value, slope and (not self.through_eigenvectors() or distinct(A))


@cache
def have_numbers(function: str, A: Tensor) -> tuple[bool, bool]:
    """Whether value and gradient fit the dtype at both ends of the spectrum."""
    parts = ("sqrtm", "invsqrtm") if "_and_" in function else (function,)
    ends = [mpf(float(a)) for a in (raised(A).min(), raised(A).max())]
    limit = torch.finfo(A.dtype).max / A.shape[-1] ** 2
    value, slope = (
        all(abs(SCALARS[part][k](a)) < limit for part in parts for a in ends) for k in (0, 1)
    )
    return value, slope


def cells(functions: Iterable[str]) -> Iterator[Cell]:
    """All pairs of method and rule that serve these functions."""
    for function in functions:
        for method in METHODS if "sqrtm" in function else SPECTRAL:
            for backward in F.BACKWARDS:
                if "sqrtm" in function or backward not in FOR_ROOTS:
                    yield Cell(function, method, backward)


def attempt(run: Run, A: Tensor) -> Result | None:
    """What comes out, and the gradient for fixed weights; None where LAPACK gives up."""
    A = A.clone().requires_grad_()
    try:
        outputs = run(A)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        (gradient,) = torch.autograd.grad(outputs, A, [weights_like(A)] * len(outputs))
    except torch.linalg.LinAlgError:
        return None
    return torch.stack([output.detach() for output in outputs], 1), gradient


def finite(X: Tensor) -> bool:
    return bool(X.isfinite().all())


def all_finite(result: Result | None) -> bool:
    return result is not None and finite(result[0]) and finite(result[1])


def elsewhere(
    inputs: Mapping[str, Iterable[Tensor]], good: Callable[[str, Tensor, Run], bool]
) -> str:
    """How often other libraries' functions are good on the inputs of each, as one phrase."""
    counts: dict[str, list[bool]] = {}
    for function, matrices in inputs.items():
        for A, (name, run) in product(matrices, others(function)):
            counts.setdefault(name, []).append(good(function, A, run))
    return ", ".join(f"{name} {sum(held)} of {len(held)}" for name, held in counts.items())


def others(function: str) -> Iterator[tuple[str, Run]]:
    """What one writes by hand, what PyTorch has, and what was published."""
    yield "torch.linalg.eigh", partial(eigh_powers, exponents=EXPONENTS[function])
    if function == "sqrtm" and hasattr(torch.linalg, "matrix_sqrth"):
        yield "torch.linalg.matrix_sqrth", torch.linalg.matrix_sqrth
    for *_, run in PUBLISHED[function]:
        yield "published forms", run


def short(A: Tensor) -> str:
    return f"{str(A.dtype)[6:]}, n={A.shape[-1]}"
