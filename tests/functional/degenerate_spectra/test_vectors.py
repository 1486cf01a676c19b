"""Eigenvectors and projectors on them where eigenvalues meet."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from tests.counted import Counted
from tests.functional.degenerate_spectra.cells import (
    METHODS,
    SPECTRAL,
    Run,
    all_finite,
    attempt,
)
from tests.functional.degenerate_spectra.families import DTYPES, FAMILIES, N, raised, subjects
from tests.functional.degenerate_spectra.fifty_digits import (
    LARGEST,
    exact,
    exact_gradient,
    exact_value,
)
from tests.functional.degenerate_spectra.test_errors import AREA, distance, norm, rounding
from tests.properties import weights_like

# Spectra with a cut between the eigenvalues above 0.9 and the others.
CUT = (
    "equal pairs of eigenvalues",
    "two eigenvalues 1e-3 to 1e-12 apart",
    "all eigenvalues equal but one",
    "condition number 1e12",
    "rank one",
    "half the rank",
    "an eigenvalue of -ε/2",
)


@pytest.mark.promise(AREA, "eigh: finite vectors and gradient, bounded rules")
@pytest.mark.parametrize("rule", LARGEST)
def test_finite(rule: str, full: bool, counted: Counted) -> None:
    """The rules that bound the gaps; exact gaps have no bound."""
    theirs = []
    for (family, make), dtype in product(FAMILIES.items(), DTYPES):
        A = make(N, dtype)
        result = attempt(partial(weighed, partial(F.eigh, backward=rule)), A)
        counted.case(family, dtype, held=all_finite(result))
        if full:
            theirs.append(all_finite(attempt(partial(weighed, torch.linalg.eigh), A)))
    counted.beside = f"finite: torch.linalg.eigh {sum(theirs)} of {len(theirs)}"


def weighed(eigh: Run, A: Tensor) -> Tensor:
    """Eigenvectors and values in one matrix, of which no rotation is left out."""
    values, vectors = eigh(A)
    return vectors + torch.diag_embed(values)


@pytest.mark.promise(AREA, "largest inverse gap of each bounded rule")
@pytest.mark.parametrize("rule", LARGEST)
def test_largest_inverse_gap(rule: str, counted: Counted) -> None:
    """Against the bound of its rule."""
    for name, A in subjects(tuple(FAMILIES)):
        values = raised(A).to(A.dtype)
        K = F.BACKWARDS[rule]().inverse_gaps(values)
        larger = torch.maximum(values[:, None], values[None, :]).double()
        eps = torch.finfo(A.dtype).eps
        share = (K.abs().double() / LARGEST[rule](larger, eps)).max().item()
        counted.within(name, error=share, bound=1 + 64 * eps, of="its bound")


@pytest.mark.promise(AREA, "projector on eigenvectors, some of them tied")
@pytest.mark.parametrize("method", SPECTRAL)
def test_projector(method: str, counted: Counted) -> None:
    """Whatever ties there are on one side of the cut."""
    theirs = []
    for name, A in subjects(CUT):
        values = [float(a) for a in exact(A).values]
        rank = sum(a > 0.9 for a in values)
        bound = rounding(A) / (values[-rank] - values[-rank - 1])
        run = partial(F.spectral_projector, rank=rank, method=METHODS[method])
        counted.within(name, error=error(run, A), bound=bound, of="nε/gap")
        theirs.append(error(partial(projector, rank=rank), A) <= bound)
    counted.beside = f"within that: torch.linalg.eigh {sum(theirs)} of {len(theirs)}"


def projector(A: Tensor, rank: int) -> Tensor:
    """What one writes by hand."""
    leading = torch.linalg.eigh(A)[1][..., -rank:]
    return leading @ leading.mT


def error(run: Run, A: Tensor) -> float:
    """The larger error of value and gradient, relative to the size of both at a gap of one."""
    result = attempt(run, A[None])
    of_value = distance(result, 0, exact_value(A, "leading")) / N**0.5
    return max(of_value, distance(result, 1, exact_gradient(A, "leading")) / norm(weights_like(A)))
