"""The Fréchet distance of the questions page keeps its digits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from tests.docs.markdown_pages import blocks
from tests.properties import relative_error, spd


@pytest.fixture(scope="module")
def frechet() -> Callable[..., Tensor]:
    names: dict[str, Any] = {"torch": torch, "F": F}
    (block,) = [b for b in blocks("docs/faq.md", "python") if "def frechet" in b.text]
    exec(block.text, names)
    return names["frechet"]


def exact(cov1: Tensor, cov2: Tensor) -> Tensor:
    """Of means zero, by the eigenvalues of the product, in float64."""
    values = torch.linalg.eigvals(cov1 @ cov2).real.clamp_min(0)
    return (cov1 + cov2).trace() - 2 * values.sqrt().sum()


def root(A: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(A)
    return vectors * values.sqrt() @ vectors.mT


# Measured: values to 1e-6, gradients to 3e-5 at 1e4 and 2e-2 at 1e6.
@pytest.mark.parametrize(("condition", "gradient"), [(1e2, 1e-4), (1e4, 1e-3), (1e6, 0.1)])
@pytest.mark.parametrize("n", [3, 16, 64])
def test_digits(frechet: Callable[..., Tensor], n: int, condition: float, gradient: float) -> None:
    cov1, cov2 = spd(n=n, condition=condition, seed=1), spd(n=n, condition=condition, seed=2)
    zero = torch.zeros(n)
    a, b = cov1.float().requires_grad_(), cov2.float()
    distance = frechet(zero, a, zero, b)
    # by Takatsu (2011): I less the optimal map, in float64
    first = root(cov1)
    inverse = torch.linalg.inv(first)
    expected = torch.eye(n) - inverse @ root(first @ cov2 @ first) @ inverse
    assert distance.item() == pytest.approx(exact(cov1, cov2).item(), rel=1e-5)
    assert relative_error(torch.autograd.grad(distance, a)[0], expected) < gradient


@pytest.mark.parametrize(("samples", "n"), [(2, 256), (16, 64), (500, 8)])
def test_a_set_and_itself(frechet: Callable[..., Tensor], samples: int, n: int) -> None:
    x = torch.randn(n, samples, generator=torch.Generator().manual_seed(0))
    cov = F.covariance(x).requires_grad_()
    distance = frechet(x.mean(-1), cov, x.mean(-1), cov.detach())
    assert distance.abs() < 1e-4 * cov.trace()
    assert torch.autograd.grad(distance, cov)[0].isfinite().all()
