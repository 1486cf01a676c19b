"""Covariance, cross covariance, shrinkage and triangles."""

import numpy as np
import pytest
import torch

from covlayers import functional as F


@pytest.mark.parametrize("shape", [(), (2,), (0,), (2, 3)])
@pytest.mark.parametrize("center", [True, False])
def test_covariance_equals_numpy(center: bool, shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, 4, 9, dtype=torch.float64) + 1
    A = F.covariance(x, center=center)
    assert A.shape == (*shape, 4, 4)
    for one, matrix in zip(x.reshape(-1, 4, 9), A.reshape(-1, 4, 4), strict=True):
        expected = np.cov(one.numpy(), bias=True) if center else one.numpy() @ one.numpy().T / 9
        assert np.allclose(matrix.numpy(), expected)


def test_cross_covariance_equals_a_block_of_the_joint_covariance() -> None:
    x, y = torch.randn(2, 3, 9).double(), torch.randn(2, 4, 9).double()
    joint = F.covariance(torch.cat([x, y], 1))
    assert torch.allclose(F.cross_covariance(x, y), joint[:, :3, 3:])
    assert torch.allclose(F.cross_covariance(x, x), F.covariance(x))


def test_a_large_mean_costs_no_accuracy() -> None:
    x = torch.randn(4, 8, 500).double()
    x = x - x.mean(-1, keepdim=True)
    offset = 1e3 * torch.arange(1.0, 9.0)[:, None]
    shifted = (x + offset).float().requires_grad_()
    A = F.covariance(shifted)
    # What is left is the rounding of the input itself, 8e3 times epsilon.
    assert torch.allclose(A.double(), F.covariance(x), atol=1e-3)
    weights = torch.randn(8, 8)
    (grad,) = torch.autograd.grad(A, shifted, weights.expand(4, 8, 8))
    exact = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.covariance(exact), exact, weights.double().expand(4, 8, 8))
    assert torch.allclose(grad.double(), expected, atol=1e-4)


def test_eps_and_shrinkage() -> None:
    x = torch.randn(2, 4, 9).double()
    A, identity = F.covariance(x), torch.eye(4).double()
    assert torch.allclose(F.covariance(x, eps=0.3), A + 0.3 * identity)
    mean = A.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    assert torch.allclose(F.shrink(A, 0.25), 0.75 * A + 0.25 * mean * identity)
    both = F.covariance(x, eps=0.3, shrinkage=0.25)
    assert torch.allclose(both, F.shrink(A, 0.25) + 0.3 * identity)
    assert torch.linalg.matrix_rank(F.shrink(F.covariance(x[..., :2]), 0.1)).tolist() == [4, 4]


def test_keeps_the_features_and_no_centred_copy() -> None:
    kept: list[torch.Tensor] = []
    x, y = torch.randn(2, 4, 100, requires_grad=True), torch.randn(2, 3, 100, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        F.covariance(x, eps=0.1)
        F.cross_covariance(x, y)
    assert {t.data_ptr() for t in kept} == {x.data_ptr(), y.data_ptr()}


@pytest.mark.parametrize("n", [0, 1, 2, 5])
@pytest.mark.parametrize("isometric", [False, True])
def test_triangles(isometric: bool, n: int) -> None:
    A = torch.randn(2, 3, n, n, dtype=torch.float64)
    A = A + A.mT
    v = F.triu_vector(A, isometric=isometric)
    assert v.shape == (2, 3, n * (n + 1) // 2)
    row, column = np.triu_indices(n)
    factor = np.where(row == column, 1, 2**0.5 if isometric else 1)
    assert np.allclose(v.numpy(), A.numpy()[..., row, column] * factor)
    assert torch.allclose(F.triu_matrix(v, n, isometric=isometric), A)
    if isometric:
        assert torch.allclose((v**2).sum(-1), (A**2).sum((-2, -1)))


def test_gradients_of_triangles() -> None:
    A = torch.randn(2, 4, 4, dtype=torch.float64, requires_grad=True)
    v = torch.randn(2, 10, dtype=torch.float64, requires_grad=True)
    for isometric in (False, True):
        assert torch.autograd.gradcheck(lambda A: F.triu_vector(A, isometric=isometric), A)
        assert torch.autograd.gradcheck(lambda v: F.triu_matrix(v, 4, isometric=isometric), v)


@pytest.mark.parametrize("M", [16_384, 300_001])
@pytest.mark.parametrize("C", [1, 3, 15, 16])
def test_many_positions_cost_no_digits(C: int, M: int) -> None:
    # From 16 channels on BLAS itself decides: on a processor with AMX one float32 product of these
    # numbers, which are multiples of 2^-20, is off by 2e-6 to 5e-6 on 128 positions too.
    bound = 1e-6 if C < 16 else 1e-5
    x = torch.rand(M, C).cumsum(0).remainder(1) + torch.arange(C)
    y = x[:, :1] + torch.rand(M, 2)
    joint = torch.cov(torch.cat([x, y], 1).double().mT, correction=0)
    for rows in (lambda x: x.mT, lambda x: x.mT.contiguous(), lambda x: x.mT.expand(2, -1, M)):
        A, B = F.covariance(rows(x)), F.cross_covariance(rows(x), rows(y))
        assert (A - joint[:C, :C]).abs().max() < bound * joint.abs().max()
        assert (B - joint[:C, C:]).abs().max() < bound * joint.abs().max()
