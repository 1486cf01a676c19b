"""The operators on features as PyTorch sees them, on a CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import covlayers.functional  # noqa: F401  # defines them
from covlayers.functional._features.covariance import covariance_by_kernel
from covlayers.functional.triangle import _triangle, triu_vector
from tests.properties import relative_error

N, C, M = 2, 9, 4
OPERATORS = torch.ops.covlayers


def features(channels_last: bool) -> Tensor:
    return torch.randn(N, M, C).mT if channels_last else torch.randn(N, C, M)


def calls(channels_last: bool) -> dict[str, tuple[Any, ...]]:
    """Arguments of every operator."""
    x, P, T, y = features(channels_last), torch.randn(N, C, M), torch.randn(N, M, M), torch.ones(N)
    T = T @ T.mT + torch.eye(M)
    G, above = torch.randn(C, C, N).permute(2, 0, 1), torch.randn(N, C * (C + 1) // 2)
    steps = [1.875, -1.25, 0.375] * 3
    return {
        "covariance": (x, True, 0.1, 0.0),
        "covariance_gradient": (G, x, x.mean(-1), 0.2),
        "triangle": (G, True),
        "triangle_gradient": (above, C, True),
        "channels_from_positions": (x, T, y, True, True, False),
        "gradient_times_features": (above, x, True, True, False),
        "gradient_from_positions": (x, P, T, T, True),
        "root_from_positions": (x, 0.1, steps, True),
        "gradient_of_root": (x, P, T, 0.1, True, 1e-2, 5),
        "newton_schulz_from_positions": (x, 0.1, 3, True),
        "gradient_of_newton_schulz": (x, P, above, T, 0.1, 3, True, True),
        "pade_from_positions": (x, 0.1, [0.9, 0.5], True),
        "taylor_from_positions": (x, 0.1, [1.0, -0.5, -0.125], True),
        "sign_from_positions": (x, P, T, y, 0.1, True, 3),
    }


@pytest.mark.parametrize("name", calls(False))
@pytest.mark.parametrize("channels_last", [False, True])
def test_opcheck(name: str, channels_last: bool) -> None:
    operator: Callable[..., Any] = getattr(OPERATORS, name).default
    torch.library.opcheck(operator, calls(channels_last)[name])


@pytest.mark.parametrize("shape", [(2, 3, 6, 20), (6, 20)])
@pytest.mark.parametrize("shrinkage", [None, 0.3])
@pytest.mark.parametrize("center", [True, False])
def test_the_covariance_and_its_derivatives(
    shape: tuple[int, ...], shrinkage: float | None, center: bool
) -> None:
    run = lambda x: covariance_by_kernel(x, center, 0.1, shrinkage)
    x = (torch.randn(*shape, dtype=torch.float64) + 2).requires_grad_()
    A = run(x)
    assert torch.equal(A, A.mT)
    assert relative_error(A, plain(x, center, shrinkage)) < 1e-12
    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


def plain(x: Tensor, center: bool, shrinkage: float | None) -> Tensor:
    z = x - x.mean(-1, keepdim=True) if center else x
    cov, s, identity = z @ z.mT / x.shape[-1], shrinkage or 0.0, torch.eye(x.shape[-2])
    mean = cov.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    return (1 - s) * cov + (s * mean + 0.1) * identity


@pytest.mark.parametrize("isometric", [False, True])
def test_the_triangle_and_its_derivatives(isometric: bool) -> None:
    A = torch.randn(2, 5, 5, dtype=torch.float64, requires_grad=True)
    run = lambda A: _triangle(A, isometric)
    assert torch.equal(run(A), triu_vector(A, isometric=isometric))
    assert torch.autograd.gradcheck(run, A)
    assert torch.autograd.gradgradcheck(run, A)
