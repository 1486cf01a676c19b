"""What the exact cells promise at a condition number, against 50-digit arithmetic."""

import os
import subprocess
import sys
from functools import lru_cache

import mpmath
import pytest
import torch
from torch import Tensor

from tests.properties import EXPONENTS, relative_error, spd, value_and_gradient, weights_like

PROMISED = {1e2: 1e-10, 1e4: 1e-8, 1e6: 1e-6}
SLACK = {("eigh", "loewner"): 1, ("polar_express", "smith"): 100}


@lru_cache
def fifty_digits(name: str, condition: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The value and the gradient of one 12 x 12 matrix by mpmath."""
    A = matrix(condition, dtype)
    grad = weights_like(A).double()
    p = mpmath.mpf(EXPONENTS[name])
    with mpmath.workdps(50):
        values, U = mpmath.eigsy(mpmath.matrix(A.double().tolist()))
        Y = U * mpmath.diag([v**p for v in values]) * U.T
        inner = U.T * mpmath.matrix(((grad + grad.mT) / 2).tolist()) * U
        for i, a in enumerate(values):
            for j, b in enumerate(values):
                slope = (a**p - b**p) / (a - b) if i != j else p * a ** (p - 1)
                inner[i, j] *= slope
        gA = U * inner * U.T
        return tuple(torch.tensor(M.tolist(), dtype=torch.float64) for M in (Y, gA))


def matrix(condition: float, dtype: torch.dtype) -> Tensor:
    return spd(n=12, condition=condition, seed=5).to(dtype)


@pytest.mark.parametrize("cell", SLACK)
@pytest.mark.parametrize("condition", PROMISED)
@pytest.mark.parametrize("name", EXPONENTS)
def test_float64(name: str, condition: float, cell: tuple[str, str]) -> None:
    Y, grad = value_and_gradient(name, matrix(condition, torch.float64), *cell)
    expected_Y, expected_grad = fifty_digits(name, condition, torch.float64)
    bound = PROMISED[condition] * SLACK[cell]
    assert relative_error(Y, expected_Y) <= bound
    assert relative_error(grad, expected_grad) <= bound


def test_float32_inverse_root_by_products() -> None:
    A = matrix(1e4, torch.float32)
    Z, grad = value_and_gradient("invsqrtm", A, "polar_express", "smith")
    expected_Z, expected_grad = fifty_digits("invsqrtm", 1e4, torch.float32)
    assert relative_error(Z, expected_Z) <= 1e-4
    assert relative_error(grad, expected_grad) <= 5e-4


def test_float32_inverse_root_by_products_on_a_batch_of_64() -> None:
    A = spd(64, n=64, condition=1e4).float()
    values, vectors = torch.linalg.eigh(A.double())
    Z, grad = value_and_gradient("invsqrtm", A, "polar_express", "smith")
    assert relative_error(Z, (vectors / values.sqrt().unsqueeze(-2)) @ vectors.mT) <= 1e-4
    _, expected = value_and_gradient("invsqrtm", A.double(), "eigh", "loewner")
    assert relative_error(grad, expected) <= 5e-4


SET_THREADS = """
import torch
from tests.properties import spd, value_and_gradient

torch.set_num_threads(2)
for result in value_and_gradient("invsqrtm", spd(2, n=200).float(), "pade", None):
    assert torch.isfinite(result).all()
"""


def test_large_matrices_after_setting_threads() -> None:
    """On some builds LAPACK fails then. The threads stay set, so a process of its own runs it."""
    paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", SET_THREADS], env=os.environ | paths, check=True)
