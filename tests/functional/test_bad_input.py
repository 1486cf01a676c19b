"""Each bad input gets a typed error that says what was expected, what came and what to do."""

from collections.abc import Callable

import pytest
import torch
from properties import FUNCTIONS, spd

import covlayers
from covlayers import functional as F

A = torch.eye(3)
x = torch.randn(2, 3, 8)
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
    with pytest.raises(ValueError, match=r"method must be one of \['auto', 'eigh'.*got 'padé'"):
        f(A, method="padé")
    with pytest.raises(ValueError, match=r"backward must be one of \['autograd'.*got 'exact'"):
        f(A, backward="exact")
    with pytest.raises(TypeError, match=r"method must be.*write Pade\(\) to build it"):
        f(A, method=F.Pade)
    with pytest.raises(TypeError, match=r"backward must be.*got 3"):
        f(A, backward=3)


CASES: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    # cells without meaning say what to use instead
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
    # options
    "no iterations": (
        lambda: F.NewtonSchulz(0),
        ValueError,
        "iterations must be at least 1, got 0",
    ),
    "negative iterations": (lambda: F.Lyapunov(-2), ValueError, "iterations.*got -2"),
    "half a degree": (lambda: F.Pade(2.5), TypeError, "degree must be an int, got 2.5"),
    "degree zero": (lambda: F.Taylor(0), ValueError, "degree must be at least 1"),
    "true doublings": (lambda: F.Smith(doublings=True), TypeError, "doublings must be an int"),
    "lower above one": (
        lambda: F.PolarExpress(lower=2.0),
        ValueError,
        r"lower must lie in \(0, 1\]",
    ),
    "lower zero": (lambda: F.Smith(lower=0.0), ValueError, r"lower must lie in \(0, 1\], got 0"),
    "no gap": (lambda: F.ClippedGaps(0.0), ValueError, "min_gap"),
    "no slope": (lambda: F.TruncatedGaps(-1.0), ValueError, "max_slope"),
    "no broadening": (lambda: F.LorentzianGaps(0.0), ValueError, "broadening"),
    "negative series": (lambda: F.TaylorGaps(-1), ValueError, "degree must be at least 0"),
    "negative powers": (lambda: F.PowerIteration(-1), ValueError, "iterations must be at least 0"),
    "padé of nothing": (lambda: F.PadeGaps(0), ValueError, "degree must be at least 1"),
    "unrolled name": (lambda: F.Unrolled("newton"), ValueError, r"method must be one of"),
    "infinite power": (lambda: F.powm(A, float("inf")), ValueError, r"p must lie"),
    "nan power": (lambda: F.powm(A, float("nan")), ValueError, r"p must lie.*nan"),
    "word power": (lambda: F.powm(A, "2"), TypeError, "p must be a real number, got '2'"),
    # covariance
    "one position": (
        lambda: F.covariance(x[..., :1]),
        ValueError,
        "x must have at least 2 positions",
    ),
    "no position": (lambda: F.covariance(x[..., :0]), ValueError, "at least 2 positions"),
    "no channel dimension": (lambda: F.covariance(x[0, 0]), ValueError, "at least 2 dimensions"),
    "negative eps": (lambda: F.covariance(x, eps=-1e-3), ValueError, r"eps must lie in \[0"),
    "nan eps": (lambda: F.covariance(x, eps=float("nan")), ValueError, r"eps must lie"),
    "shrinkage above one": (lambda: F.covariance(x, shrinkage=1.5), ValueError, "shrinkage"),
    "integer features": (lambda: F.covariance(x.long()), TypeError, r"x must.*x.float\(\)"),
    "other positions": (lambda: F.cross_covariance(x, x[..., 1:]), ValueError, "positions of x"),
    "other dtype": (lambda: F.cross_covariance(x, x.double()), TypeError, r"y.to\(x\)"),
    "other device": (
        lambda: F.cross_covariance(x, x.to("meta")),
        ValueError,
        "y must be on the device",
    ),
    "shrink a vector": (lambda: F.shrink(x[0, 0], 0.1), ValueError, "cov must"),
    # Lyapunov
    "solver name": (
        lambda: F.solve_lyapunov(A, A, solver="lu"),
        ValueError,
        "solver must be one of.*'smith'.*got 'lu'",
    ),
    "right-hand side": (lambda: F.solve_lyapunov(A, torch.eye(2)), ValueError, "Q must have shape"),
    "batch of Q": (
        lambda: F.solve_lyapunov(A.expand(3, 3, 3), torch.ones(2, 3, 3)),
        ValueError,
        r"Q must have batch dimensions that broadcast.*\(3,\), got \(2,\)",
    ),
    "asymmetric S": (
        lambda: F.solve_lyapunov(A + A.new_ones(3, 3).triu(1), A),
        ValueError,
        "S must",
    ),
    # triangles
    "triangle length": (lambda: F.triu_matrix(torch.ones(5), 3), ValueError, r"n\(n\+1\)/2"),
    "triangle size": (lambda: F.triu_matrix(torch.ones(6), 3.0), TypeError, "n must be an int"),
    "triangle of a strip": (
        lambda: F.triu_vector(torch.ones(2, 3)),
        ValueError,
        "A must be square",
    ),
    # whitening
    "whitening kind": (
        lambda: F.whitening_matrix(A, kind="ica"),
        ValueError,
        r"kind must be one of \['zca', 'pca', 'cholesky', 'zca_cor', 'pca_cor'\], got 'ica'",
    ),
    "mean of others": (lambda: F.whiten(x, torch.zeros(4), A), ValueError, "mean must have shape"),
    "matrix of others": (lambda: F.whiten(x, torch.zeros(3), torch.eye(4)), ValueError, "W must"),
    "color of others": (lambda: F.color(x, torch.zeros(3), torch.eye(4)), ValueError, "C must"),
    "double mean": (lambda: F.whiten(x, torch.zeros(3).double(), A), TypeError, "mean must have"),
    "style channels": (
        lambda: F.whiten_color(x, x[:, :2]),
        ValueError,
        "with the channels of content",
    ),
    "style batch": (
        lambda: F.whiten_color(x[:1], x),
        ValueError,
        "style must have a batch that broadcasts to that of content",
    ),
    "shrinkage word": (
        lambda: F.whiten_color(x, x, shrinkage="oas"),
        ValueError,
        "shrinkage must be one of",
    ),
    "one style position": (lambda: F.whiten_color(x, x[..., :1]), ValueError, "style must have"),
    "alpha": (lambda: F.whiten_color(x, x, alpha=1.5), ValueError, r"alpha must lie in \[0, 1\]"),
    "style eps": (lambda: F.whiten_color(x, x, eps=-1.0), ValueError, "eps"),
    # modules
    "pool name": (lambda: covlayers.CovPool(method="svd"), ValueError, "method must be one of"),
    "pool rule": (lambda: covlayers.CovPool(backward="svd"), ValueError, "backward must be one of"),
    "pool vector": (
        lambda: covlayers.CovPool(vectorize="tril"),
        ValueError,
        "vectorize must be one",
    ),
    "pool eps": (lambda: covlayers.CovPool(eps=-1.0), ValueError, r"eps must lie in \[0"),
    "pool shrinkage": (lambda: covlayers.MPACovPool(shrinkage=2.0), ValueError, "shrinkage"),
    "pool channels": (lambda: covlayers.CovPool(0), ValueError, "in_channels must be at least 1"),
    "pool reduction": (
        lambda: covlayers.CovPool(reduced_channels=8),
        ValueError,
        "in_channels must be given with reduced_channels",
    ),
    "pool width": (lambda: covlayers.CovPool().out_features, ValueError, "out_features needs"),
    "pool input": (lambda: covlayers.CovPool()(torch.ones(2, 3)), ValueError, "at least 3 dim"),
    "pool positions": (
        lambda: covlayers.CovPool()(torch.ones(2, 3, 1, 1)),
        ValueError,
        "positions",
    ),
    "pool other channels": (
        lambda: covlayers.CovPool(4)(torch.ones(2, 3, 5)),
        ValueError,
        r"in_channels=4 channels.*\(2, 3, 5\)",
    ),
    "pool integers": (lambda: covlayers.CovPool()(torch.ones(2, 3, 5).int()), TypeError, "int32"),
    "pool iterations": (lambda: covlayers.ISQRTCovPool(iterations=0), ValueError, "iterations"),
    "pool degree": (lambda: covlayers.MTPCovPool(degree=-1), ValueError, "degree"),
    "pool option": (lambda: covlayers.MPACovPool(epsilon=1.0), TypeError, "epsilon"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_arguments(case: str) -> None:
    call, error, message = CASES[case]
    with pytest.raises(error, match=message):
        call()


def test_a_failing_forward_leaves_buffers_untouched() -> None:
    pool = covlayers.MPACovPool(4, 3)
    before = {name: tensor.clone() for name, tensor in pool.state_dict().items()}
    for bad in (torch.ones(2, 5, 6), torch.ones(2, 4, 1), torch.ones(2, 4, 6).int()):
        with pytest.raises((ValueError, TypeError)):
            pool(bad)
    for name, tensor in pool.state_dict().items():
        assert torch.equal(tensor, before[name])


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
