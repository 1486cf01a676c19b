"""Matrices that rounding has made slightly indefinite or singular, alone and in a batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from tests.counted import Counted
from tests.properties import with_spectrum

ROOTS = ("sqrtm", "invsqrtm")
BATCHES = (1, 63, 64, 200)  # of 16 rows each: with many, products take the place of eigh
each_root = pytest.mark.parametrize("name", ROOTS)


def rounded(dtype: torch.dtype, least: float) -> Tensor:
    """A matrix of 16 with the eigenvalues 1 and, once, ``least``."""
    values = torch.ones(16, dtype=torch.float64)
    values[0] = least
    return with_spectrum(values).to(dtype)


def value_and_gradient(name: str, A: Tensor, method: str = "auto") -> tuple[Tensor, Tensor]:
    A = A.clone().requires_grad_()
    Y = getattr(F, name)(A, method=method)
    return Y.detach(), torch.autograd.grad(Y.square().sum(), A)[0]


@each_root
@pytest.mark.parametrize("method", ["auto", "polar_express"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_finite_alone_and_in_a_batch(
    name: str, method: str, dtype: torch.dtype, counted: Counted
) -> None:
    for least in (0.0, -1e-7, -1e-6, -1e-4, -5e-3):
        A = rounded(dtype, least)
        for number in BATCHES:
            batch = torch.eye(16, dtype=dtype).repeat(number, 1, 1)
            batch[number // 2] = A
            with counted(least, number):
                Y, grad = value_and_gradient(name, batch, method)
                assert Y.isfinite().all()
                if dtype != torch.float16 or name == "sqrtm":  # whose range ends at 65504
                    assert grad.isfinite().all()
                others = torch.arange(number) != number // 2
                assert torch.allclose(Y[others], batch[others], atol=10 * torch.finfo(dtype).eps)


@each_root
def test_finite_where_nothing_can_be_read(name: str, whole_graph: Callable[..., Any]) -> None:
    batch = torch.eye(16).repeat(64, 1, 1)
    batch[5] = rounded(torch.float32, -1e-4)
    f = getattr(F, name)
    expected = value_and_gradient(name, batch)
    graph = whole_graph(f)
    X = batch.clone().requires_grad_()
    Y = graph(X)
    compiled = Y.detach(), torch.autograd.grad(Y.square().sum(), X)[0]
    Y, pullback = torch.func.vjp(f, batch)
    transformed = Y, pullback(2 * Y)[0]
    others = torch.arange(64) != 5
    for actual in (compiled, transformed):
        for a, b in zip(actual, expected, strict=True):
            assert a.isfinite().all()
            assert torch.allclose(a[others], b[others], atol=1e-5)
    assert torch.func.jvp(f, (batch,), (batch,))[1].isfinite().all()


@each_root
@pytest.mark.parametrize("method", ["auto", "polar_express"])
def test_an_indefinite_matrix_is_nan_alone(name: str, method: str) -> None:
    batch = torch.eye(16).repeat(64, 1, 1)
    batch[5] = rounded(torch.float32, -0.1)
    Y = getattr(F, name)(batch, method=method)
    assert Y[5].isnan().all()
    assert torch.equal(Y.isnan().all(-1).all(-1).nonzero().flatten(), torch.tensor([5]))


@each_root
@pytest.mark.parametrize("method", F.METHODS)
def test_symmetric_of_singular_input(name: str, method: str) -> None:
    cov = F.covariance(torch.randn(64, 24, 10, generator=torch.Generator().manual_seed(0)))
    Y = getattr(F, name)(cov, method=method)
    assert (Y - Y.mT).abs().amax() <= 1e-4 * Y.abs().amax()
    assert F.sqrtm(Y, method="eigh").isfinite().all()


@each_root
def test_a_covariance_of_float32_in_float64(name: str) -> None:
    cov = F.covariance(torch.randn(4, 24, 10, generator=torch.Generator().manual_seed(0))).double()
    by_products, by_spectrum = (
        getattr(F, name)(cov, method=method) for method in ("polar_express", "eigh")
    )
    assert torch.allclose(by_products, by_spectrum, rtol=1e-6)
