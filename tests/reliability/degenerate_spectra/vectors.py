"""Eigenvectors and projectors on them where eigenvalues meet."""

from collections.abc import Iterator
from functools import partial
from itertools import product

import torch
from torch import Tensor

from covlayers import functional as F
from tests.properties import weights_like
from tests.reliability.degenerate_spectra.cells import (
    METHODS,
    SPECTRAL,
    Run,
    all_finite,
    attempt,
    short,
)
from tests.reliability.degenerate_spectra.errors import distance, norm, rounding
from tests.reliability.degenerate_spectra.families import DTYPES, FAMILIES, N, raised, subjects
from tests.reliability.degenerate_spectra.fifty_digits import (
    LARGEST,
    exact,
    exact_gradient,
    exact_value,
)
from tests.reliability.rows import Row, row
from tests.reliability.tally import Tally

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


def vector_rows(area: str) -> Iterator[Row]:
    yield finite_row(area)
    yield largest_row(area)
    yield projector_row(area)


def finite_row(area: str) -> Row:
    """Of the rules that bound the gaps; exact gaps have no bound."""
    ours, theirs = {}, []
    for (family, make), dtype in product(FAMILIES.items(), DTYPES):
        A = make(N, dtype)
        for rule in LARGEST:
            result = attempt(partial(weighed, partial(F.eigh, backward=rule)), A)
            ours[f"{rule}, {family}, {short(A)}"] = all_finite(result)
        theirs.append(all_finite(attempt(partial(weighed, torch.linalg.eigh), A)))
    beside = f"finite: torch.linalg.eigh {sum(theirs)} of {len(theirs)}"
    return row(area, "eigh: finite vectors and gradient, bounded rules", ours, beside=beside)


def weighed(eigh: Run, A: Tensor) -> Tensor:
    """Eigenvectors and values in one matrix, of which no rotation is left out."""
    values, vectors = eigh(A)
    return vectors + torch.diag_embed(values)


def largest_row(area: str) -> Row:
    """Each inverse gap against the bound of its rule."""
    tally = Tally()
    for (name, A), (rule, bound) in product(subjects(tuple(FAMILIES)), LARGEST.items()):
        values = raised(A).to(A.dtype)
        K = F.BACKWARDS[rule]().inverse_gaps(values)
        larger = torch.maximum(values[:, None], values[None, :]).double()
        eps = torch.finfo(A.dtype).eps
        share = (K.abs().double() / bound(larger, eps)).max().item()
        tally.add(f"{rule}, {name}", share, 1 + 64 * eps)
    return tally.row(area, "largest inverse gap of each bounded rule", "its bound")


def projector_row(area: str) -> Row:
    """Whatever ties there are on one side of the cut."""
    ours, theirs = Tally(), []
    for name, A in subjects(CUT):
        values = [float(a) for a in exact(A).values]
        rank = sum(a > 0.9 for a in values)
        bound = rounding(A) / (values[-rank] - values[-rank - 1])
        for method in SPECTRAL:
            run = partial(F.spectral_projector, rank=rank, method=METHODS[method])
            ours.add(f"{method}, {name}", error(run, A), bound)
        theirs.append(error(partial(projector, rank=rank), A) <= bound)
    beside = f"within that: torch.linalg.eigh {sum(theirs)} of {len(theirs)}"
    return ours.row(area, "projector on eigenvectors, some of them tied", "nε/gap", beside=beside)


def projector(A: Tensor, rank: int) -> Tensor:
    """What one writes by hand."""
    leading = torch.linalg.eigh(A)[1][..., -rank:]
    return leading @ leading.mT


def error(run: Run, A: Tensor) -> float:
    """The larger of the errors of value and gradient, relative to those of a gap of one."""
    result = attempt(run, A[None])
    of_value = distance(result, 0, exact_value(A, "leading")) / N**0.5
    return max(of_value, distance(result, 1, exact_gradient(A, "leading")) / norm(weights_like(A)))
