"""What an error says to do; that all bad input has one is counted in tests/reliability."""

from collections.abc import Callable

import pytest
import torch

from covlayers import functional as F
from tests.properties import FUNCTIONS, spd

A = torch.eye(3)
MATRIX_FUNCTIONS: dict[str, Callable] = {
    **FUNCTIONS,
    "sqrtm_and_invsqrtm": F.sqrtm_and_invsqrtm,
    "logm": F.logm,
    "powm": lambda A, **options: F.powm(A, 2.0, **options),
    "eigh": F.eigh,
}
BAD_MATRICES = {
    "a list": ([[1.0]], TypeError, r"A must be a torch.Tensor, got list"),
    "a vector": (torch.ones(3), ValueError, r"A must have at least 2 dimensions, got shape \(3,\)"),
    "not square": (torch.ones(2, 3), ValueError, r"A must be square.*\(2, 3\).*covariance"),
    "integers": (torch.ones(3, 3, dtype=torch.int64), TypeError, r"A must .*int64.*A.float\(\)"),
    "complex": (torch.eye(3, dtype=torch.complex64), TypeError, r"A must have a real.*complex64"),
    "asymmetric": (torch.ones(3, 3).triu(), ValueError, r"A must be symmetric.*\(A \+ A.mT\) / 2"),
}


@pytest.mark.parametrize("bad", BAD_MATRICES)
@pytest.mark.parametrize("name", MATRIX_FUNCTIONS)
def test_bad_matrices(name: str, bad: str) -> None:
    matrix, error, message = BAD_MATRICES[bad]
    with pytest.raises(error, match=message):
        MATRIX_FUNCTIONS[name](matrix)


@pytest.mark.parametrize("name", MATRIX_FUNCTIONS)
def test_bad_names(name: str) -> None:
    f = MATRIX_FUNCTIONS[name]
    with pytest.raises(ValueError, match=r"method must be one of \['auto', .*'eigh'.*got 'padé'"):
        f(A, method="padé")
    with pytest.raises(ValueError, match=r"backward must be one of \['autograd'.*got 'exact'"):
        f(A, backward="exact")
    with pytest.raises(TypeError, match=r"method must be.*write Pade\(\) to build it"):
        f(A, method=F.Pade)
    with pytest.raises(TypeError, match=r"backward must be.*got 3"):
        f(A, backward=3)


WITHOUT_MEANING: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "logm by products": (lambda: F.logm(A, method="pade"), F.UnsupportedError, "method='eigh'"),
    "powm by products": (
        lambda: F.powm(A, 2.0, method="newton_schulz"),
        F.UnsupportedError,
        "cannot compute powm.*method='eigh'",
    ),
    "logm by Smith": (lambda: F.logm(A, backward="smith"), F.UnsupportedError, "'loewner'"),
    "logm by Lyapunov": (
        lambda: F.logm(A, backward="lyapunov"),
        F.UnsupportedError,
        "logm.*'loewner'",
    ),
    "eigh by products": (lambda: F.eigh(A, method="pade"), F.UnsupportedError, "method='eigh'"),
    "eigh by Loewner": (lambda: F.eigh(A, backward="loewner"), F.UnsupportedError, "exact_gaps"),
    "eigh by Unrolled": (lambda: F.eigh(A, backward="unrolled"), F.UnsupportedError, "gap rule"),
    "pca by products": (
        lambda: F.whitening_matrix(A, kind="pca", method="pade"),
        F.UnsupportedError,
        "method='eigh'",
    ),
    "cholesky by a method": (
        lambda: F.whitening_matrix(A, kind="cholesky", method="eigh"),
        F.UnsupportedError,
        "leave method='auto'",
    ),
}


@pytest.mark.parametrize("case", WITHOUT_MEANING)
def test_a_cell_without_meaning_says_what_to_take(case: str) -> None:
    call, error, message = WITHOUT_MEANING[case]
    with pytest.raises(error, match=message):
        call()


def test_inputs_are_never_written() -> None:
    A, x = spd(2), torch.randn(2, 5, 9, dtype=torch.float64)
    copies = A.clone(), x.clone()
    for kind in ("zca", "pca", "cholesky", "zca_cor", "pca_cor"):
        W = F.whitening_matrix(A, kind=kind)
        F.whiten(x, x.mean(-1), W)
    F.whiten_color(x, x.flip(-1))
    F.solve_lyapunov(A, A)
    F.eigh(A)
    F.covariance(x, eps=1.0, shrinkage=0.5)
    F.triu_matrix(F.triu_vector(A, isometric=True), 5, isometric=True)
    assert torch.equal(A, copies[0])
    assert torch.equal(x, copies[1])
