"""The projector on the leading eigenvectors, and its gradient at equal eigenvalues."""

import pytest
import torch
from torch.testing import assert_close

from covlayers import functional as F
from tests.properties import relative_error, spd, weights_like, with_spectrum

GAP_RULES = [name for name, rule in F.BACKWARDS.items() if issubclass(rule, F.GapRule)]
EXACT = ("loewner", "exact_gaps", "pade_gaps", "autograd")


def exact(A: torch.Tensor, rank: int) -> torch.Tensor:
    vectors = torch.linalg.eigh(A.double()).eigenvectors[..., -rank:]
    return vectors @ vectors.mT


def gradient(A: torch.Tensor, rank: int, **options: object) -> torch.Tensor:
    A = A.clone().requires_grad_()
    P = F.spectral_projector(A, rank, **options)
    return torch.autograd.grad(P, A, weights_like(A))[0]


def exact_gradient(A: torch.Tensor, rank: int) -> torch.Tensor:
    """The change of the projector to first order, by central differences along a basis."""
    n, h = A.shape[-1], 1e-6
    weights = weights_like(A)
    result = torch.zeros_like(A)
    for i in range(n):
        for j in range(i + 1):
            E = torch.zeros(n, n, dtype=A.dtype)
            E[i, j] = E[j, i] = 0.5 if i != j else 1.0
            change = (exact(A + h * E, rank) - exact(A - h * E, rank)) / (2 * h)
            slope = (change * weights).sum((-2, -1))
            result[..., i, j] = result[..., j, i] = slope
    return result


@pytest.mark.parametrize("batch", [(), (0,), (2, 3)])
@pytest.mark.parametrize("rank", [1, 3, 5])
def test_value(batch: tuple[int, ...], rank: int) -> None:
    A = spd(*batch, n=5)
    P = F.spectral_projector(A, rank)
    assert_close(P, exact(A, rank) if A.numel() else A)
    assert_close(P @ P, P)
    assert F.spectral_projector(A.bfloat16(), rank).dtype == torch.bfloat16


@pytest.mark.parametrize("backward", EXACT)
def test_gradient(backward: str) -> None:
    A = spd(3, n=5)
    assert relative_error(gradient(A, 2, backward=backward), exact_gradient(A, 2)) < 1e-6


@pytest.mark.parametrize("gap", [1e-12, 1e-6, 0.0])
def test_equal_eigenvalues_matter_at_the_cut_alone(gap: float) -> None:
    values = torch.tensor([1.0, 1.0 + gap, 1.0 + 2 * gap, 3.0, 3.0 + gap], dtype=torch.float64)
    A = with_spectrum(values, 4)
    assert relative_error(gradient(A, 2), exact_gradient(A, 2)) < 1e-6
    assert torch.isfinite(gradient(A, 1)).all() or gap > 0


@pytest.mark.parametrize("backward", GAP_RULES)
def test_every_gap_rule_serves(backward: str) -> None:
    A = spd(3, n=5, condition=10.0)
    true, found = exact_gradient(A, 2), gradient(A, 2, backward=backward)
    cosine = torch.nn.functional.cosine_similarity(true.flatten(1), found.flatten(1))
    assert cosine.min() > 0.95
    # between the two sides only; the deflation error of power iteration, 1e-5 here, is within one
    U = torch.linalg.eigh(A).eigenvectors
    inner = U.mT @ found @ U
    within = max(inner[:, :3, :3].abs().max(), inner[:, 3:, 3:].abs().max())
    assert within < (1e-4 if backward == "power_iteration" else 1e-12)


def test_second_derivative_raises() -> None:
    A = spd(n=4).requires_grad_()
    first = torch.autograd.grad(F.spectral_projector(A, 2)[0, 0], A, create_graph=True)[0]
    with pytest.raises(F.UnsupportedError, match="second derivative"):
        first.sum().backward()


@pytest.mark.parametrize("method", ["auto", "eigh", F.Eigh(refine=True)])
def test_of_any_sign(method: object) -> None:
    A = with_spectrum(torch.tensor([-2.0, -1.0, 1.0, 3.0], dtype=torch.float64))
    for rank in (1, 2, 3):
        assert_close(F.spectral_projector(A, rank, method=method), exact(A, rank))
        found = gradient(A, rank, method=method)
        assert relative_error(found, exact_gradient(A, rank)) < 1e-6
