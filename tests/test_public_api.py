"""The public names, as a diff would show them."""

import inspect
import subprocess
import sys
from importlib.metadata import version

import pytest

import covlayers
from covlayers import functional

NAMES = {
    "covlayers": """
        AdaIN AttentiveTemporalCovPool CholeskyWhitening ColoringOrthogonalityLoss
        ConditioningMonitor CovAttention CovPool CrossCovPool DecorrelatedBatchNorm
        GroupWhitening GroupWhiteningColoring ISQRTCovPool IterNorm MPACovPool
        MPNCovPool MTPCovPool PCANorm PCAWhitening SVPowerNorm SecondOrderHead
        SwitchableWhitening TCPCovPool TemporalChannelAttention TemporalConv
        TemporalSpatialAttention WhiteningColoring WhiteningLoss ZCAWhitening __version__
        convert_batchnorm convert_sync fold freeze_stats functional recalibrate replace_head
        """,
    "covlayers.functional": """
        Auto Autograd BACKWARDS Backward ClippedGaps ConvergenceError DirectMethod Eigh
        ExactGaps GapRule InvalidTypeError InvalidValueError Loewner LorentzianGaps Lyapunov
        LyapunovSolver METHODS MatrixFunction Method NewtonSchulz NormalisedMethod Pade PadeGaps
        PolarExpress PowerIteration Rule Saved Selection Smith SpectralMethod Taylor TaylorGaps
        TruncatedGaps Unrolled UnsupportedError color covariance
        covariance_function cross_covariance eigh gaussian_embedding invsqrtm logm powm select
        shrink solve_lyapunov spectral_projector sqrtm sqrtm_and_invsqrtm triu_matrix triu_vector
        whiten whiten_color whitening_matrix
        """,
}
SIGNATURES = {
    "covariance": "(x, *, center=True, eps=0.0, shrinkage=None, weights=None)",
    "cross_covariance": "(x, y, *, center=True, weights=None)",
    "gaussian_embedding": "(x, *, mean_weight=1.0, eps=0.0, shrinkage=None)",
    "shrink": "(cov, shrinkage)",
    "eigh": "(A, *, method='eigh', backward='exact_gaps')",
    "sqrtm": "(A, *, method='auto', backward=None)",
    "invsqrtm": "(A, *, method='auto', backward=None)",
    "sqrtm_and_invsqrtm": "(A, *, method='auto', backward=None)",
    "logm": "(A, *, method='auto', backward=None)",
    "powm": "(A, p, *, method='auto', backward=None)",
    "solve_lyapunov": "(S, Q, *, solver='auto')",
    "spectral_projector": "(A, rank, *, method='auto', backward=None)",
    "triu_vector": "(A, *, isometric=False)",
    "triu_matrix": "(v, n, *, isometric=False)",
    "whitening_matrix": "(cov, *, kind='zca', method='auto', backward=None)",
    "whiten": "(x, mean, W)",
    "color": "(x, mean, C)",
    "whiten_color": "(content, style, *, alpha=1.0, eps=1e-05, shrinkage='auto', "
    "method='auto', backward=None)",
}


@pytest.mark.parametrize("module", [covlayers, functional])
def test_public_names(module) -> None:
    assert sorted(module.__all__) == sorted(NAMES[module.__name__].split())
    assert all(hasattr(module, name) for name in module.__all__)


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    signature = inspect.signature(getattr(functional, name))
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    shown = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    assert shown == SIGNATURES[name]


def test_the_import_is_light() -> None:
    asked = "import sys, torch, covlayers; assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", asked], check=True, timeout=120)


def test_version() -> None:
    assert version("covlayers") == covlayers.__version__
