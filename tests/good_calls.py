"""A call of every public function that is right, for tests that change a part of it."""

import torch
from torch import Tensor

from covlayers import functional as F
from tests.properties import spd

A = spd(2, n=3)
X = torch.randn(2, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
MEAN = X.mean(-1)
V = F.triu_vector(A)
ROOTS = ("sqrtm", "invsqrtm", "sqrtm_and_invsqrtm")
SPECTRAL = ("logm", "powm", "spectral_projector")
GOOD: dict[str, dict[str, object]] = {
    **{name: {"A": A} for name in (*ROOTS, "logm", "eigh", "triu_vector")},
    "powm": {"A": A, "p": 0.3},
    "spectral_projector": {"A": A, "rank": 2},
    "whitening_matrix": {"cov": A},
    "shrink": {"cov": A, "shrinkage": 0.1},
    "triu_matrix": {"v": V, "n": 3},
    "covariance": {"x": X},
    "covariance_function": {"x": X},
    "gaussian_embedding": {"x": X},
    "cross_covariance": {"x": X, "y": X.flip(-1)},
    "solve_lyapunov": {"S": A, "Q": A},
    "whiten": {"x": X, "mean": MEAN, "W": A},
    "color": {"x": X, "mean": MEAN, "C": A},
    "whiten_color": {"content": X, "style": X.flip(-1)},
}

# It reads no value and returns no tensor, so that only what it refuses is of interest.
SELECT: dict[str, dict[str, object]] = {"select": {"A": A}}


def tensors_of(function: str) -> dict[str, Tensor]:
    """The tensors that it takes."""
    return {name: x for name, x in (GOOD | SELECT)[function].items() if isinstance(x, Tensor)}
