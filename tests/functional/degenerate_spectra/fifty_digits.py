r"""Functions of a matrix and their gradients by formulas typed out, in 50-digit arithmetic.

With :math:`K` the inverse gaps of a rule, the divided difference of a pair is
:math:`K_{ij} f(\lambda_j) + K_{ji} f(\lambda_i)`: exact with the exact gaps, and with the gaps of a
surrogate what it puts in that place (docs/derivations/gap_rules.md).
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import mpmath
import torch
from mpmath import mpf
from torch import Tensor

from tests.properties import weights_like

DIGITS = 50
Scalar = Callable[[mpf], mpf]
InverseGaps = Callable[[mpf, mpf, float], tuple[mpf, mpf]]

# Each function of an eigenvalue with its derivative; "leading" projects on those above 0.9.
FUNCTIONS: dict[str, tuple[Scalar, Scalar]] = {
    "sqrtm": (lambda a: mpmath.sqrt(max(a, mpf(0))), lambda a: 1 / (2 * mpmath.sqrt(a))),
    "invsqrtm": (lambda a: 1 / mpmath.sqrt(a), lambda a: -1 / (2 * a * mpmath.sqrt(a))),
    "logm": (mpmath.log, lambda a: 1 / a),
    "powm, 1/3": (mpmath.cbrt, lambda a: mpmath.cbrt(a) / (3 * a)),
    "powm, -1": (lambda a: 1 / a, lambda a: -1 / a**2),
    "powm, 2": (lambda a: a**2, lambda a: 2 * a),
    "leading": (lambda a: mpf(a > 0.9), lambda a: mpf(0)),
}

# |K| of a larger and a smaller eigenvalue, in the two places of the pair: below the diagonal of
# descending eigenvalues, and above it.
INVERSE_GAPS: dict[str, InverseGaps] = {
    "exact_gaps": lambda a, b, eps: both(1 / (a - b)),
    "clipped_gaps": lambda a, b, eps: both(1 / max(a - b, mpf("0.01"))),
    "truncated_gaps": lambda a, b, eps: both(min(1 / (a - b), mpf("1e10"))),
    "lorentzian_gaps": lambda a, b, eps: both((a - b) / ((a - b) ** 2 + mpf("1e-12"))),
    "taylor_gaps": lambda a, b, eps: both(series(b / a, 9) / a),
    "pade_gaps": lambda a, b, eps: both(1 / (a * max(1 - b / a, mpf(eps)))),
    "power_iteration": lambda a, b, eps: (series(b / a, 19) / a, series(b / a, 18) / a),
}

# The largest |K| of a pair, by the larger of its eigenvalues; exact gaps have none.
LARGEST: dict[str, Callable[[Tensor, float], Tensor]] = {
    "clipped_gaps": lambda a, eps: torch.full_like(a, 100.0),
    "truncated_gaps": lambda a, eps: torch.full_like(a, 1e10),
    "lorentzian_gaps": lambda a, eps: torch.full_like(a, 0.5e6),
    "taylor_gaps": lambda a, eps: 10 / a,
    "pade_gaps": lambda a, eps: 1 / (eps * a),
    "power_iteration": lambda a, eps: 20 / a,
}


def both(K: mpf) -> tuple[mpf, mpf]:
    return K, K


def series(ratio: mpf, degree: int) -> mpf:
    return mpmath.fsum(ratio**k for k in range(degree + 1))


class Exact:
    """One matrix and a gradient from above, in its eigenbasis."""

    def __init__(self, A: Tensor, weights: Tensor) -> None:
        self.eps = torch.finfo(A.dtype).eps
        with mpmath.workdps(DIGITS):
            self.values, self.vectors = mpmath.eigsy(mpmath.matrix(A.double().tolist()))
            symmetric = ((weights + weights.mT) / 2).double()
            self.G = self.vectors.T * mpmath.matrix(symmetric.tolist()) * self.vectors

    @property
    def condition(self) -> float:
        return float(self.values[len(self.values) - 1] / self.values[0])

    @property
    def gap(self) -> float:
        """The smallest relative gap of eigenvalues that differ in exact arithmetic."""
        with mpmath.workdps(DIGITS):
            pairs = pairwise(self.values)
            return min((float(1 - b / a) for b, a in pairs if differ(a, b)), default=1.0)

    def rebuilt(self, inner: mpmath.matrix) -> Tensor:
        M = self.vectors * inner * self.vectors.T
        return torch.tensor(M.tolist(), dtype=torch.float64)


@cache
def exact(A: Tensor) -> Exact:
    """Value and gradient for the weights that all tests take."""
    return Exact(A, weights_like(A))


@cache
def exact_value(A: Tensor, function: str) -> Tensor:
    with mpmath.workdps(DIGITS):
        f = [FUNCTIONS[function][0](a) for a in exact(A).values]
        return exact(A).rebuilt(mpmath.diag(f))


@cache
def exact_gradient(A: Tensor, function: str, rule: str = "exact_gaps") -> Tensor:
    (f, df), truth = FUNCTIONS[function], exact(A)
    with mpmath.workdps(DIGITS):
        inner, values = truth.G.copy(), list(truth.values)
        for i, b in enumerate(values):
            inner[i, i] *= df(b)
            for j, a in enumerate(values[i + 1 :], i + 1):
                L = df(a)
                if differ(a, b):
                    below, above = INVERSE_GAPS[rule](a, b, truth.eps)
                    L = below * f(a) - above * f(b)
                inner[i, j] *= L
                inner[j, i] *= L
        return truth.rebuilt(inner)


def differ(a: mpf, b: mpf) -> bool:
    return bool(a - b > mpf("1e-30") * a)
