"""Positive powers of singular matrices: nothing divides, so null directions stay zero."""

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from tests.properties import rotation

METHODS = {"eigh": F.Eigh(), "refined": F.Eigh(refine=True), "auto": F.Auto()}
POWERS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0)
RANKS = ((64, 1), (16, 3), (128, 8))


def projector(n: int, rank: int, dtype: torch.dtype) -> Tensor:
    U = rotation(n=n, seed=n)[:, :rank]
    return (U @ U.mT).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "rank"), RANKS)
def test_a_power_of_a_projector_is_the_projector(
    n: int, rank: int, method: str, dtype: torch.dtype
) -> None:
    P = projector(n, rank, dtype)
    for p in POWERS:
        A = P.clone().requires_grad_()
        Y = F.powm(A, p, method=METHODS[method])
        assert (Y - P).norm() < n**0.5 * rank * torch.finfo(dtype).eps, p
        assert torch.autograd.grad(Y.trace(), A)[0].isfinite().all(), p


@pytest.mark.parametrize("method", METHODS)
def test_covariances_of_few_positions(method: str) -> None:
    x = torch.randn(64, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x / torch.linalg.matrix_norm(x, 2)
    S = torch.linalg.svdvals(x - x.mean(-1, keepdim=True)) / 3
    cov = F.covariance(x.float(), eps=0.0)
    for p in POWERS:
        trace = F.powm(cov, p, method=METHODS[method]).trace().double()
        assert trace == pytest.approx(S[:8].pow(2 * p).sum().item(), rel=1e-4), p


@pytest.mark.parametrize("method", METHODS)
def test_the_root_of_zero_is_zero(method: str) -> None:
    A = torch.zeros(2, 5, 5)
    A[0] = torch.eye(5)
    Y = F.sqrtm(A, method=METHODS[method])
    assert torch.equal(Y, A)
    assert F.invsqrtm(A, method=METHODS[method]).isfinite().all()


def test_methods_of_users() -> None:
    """What a subclass decomposes is taken alike."""

    class SVD(F.SpectralMethod):
        def decompose(self, A: Tensor) -> tuple[Tensor, Tensor]:
            U, values, _ = torch.linalg.svd(A)
            return values.flip(-1), U.flip(-1)

    P = projector(64, 1, torch.float32)
    assert F.powm(P, 0.25, method=SVD()).trace() == pytest.approx(1, rel=1e-6)


def test_small_eigenvalues_above_the_noise_stay() -> None:
    values = torch.tensor([2e-6, 1e-3, 1.0])
    torch.testing.assert_close(F.sqrtm(values.diag()), values.sqrt().diag())


def test_indefinite_matrices_stay_nan() -> None:
    A = torch.stack([torch.tensor([1.0, 0.0, -0.5]).diag(), torch.tensor([1.0, 0.0, 2.0]).diag()])
    Y = F.sqrtm(A, method="eigh")
    assert Y[0].isnan().all()
    torch.testing.assert_close(Y[1], A[1].sqrt())
