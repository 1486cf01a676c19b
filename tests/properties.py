"""Matrices to test on, and references that share no code with the library."""

from collections.abc import Callable

import torch
from torch import Tensor

from covlayers import functional as F

FUNCTIONS: dict[str, Callable[..., Tensor]] = {"sqrtm": F.sqrtm, "invsqrtm": F.invsqrtm}
EXPONENTS = {"sqrtm": 0.5, "invsqrtm": -0.5}


def rotation(*batch: int, n: int, seed: int = 0) -> Tensor:
    """Random orthogonal matrices in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(*batch, n, n, generator=generator, dtype=torch.float64))[0]


def with_spectrum(values: Tensor, *batch: int, seed: int = 0) -> Tensor:
    """Symmetric matrices with given eigenvalues and random eigenvectors, exactly symmetric."""
    U = rotation(*batch, n=values.shape[-1], seed=seed)
    A = (U * values.to(U.dtype).unsqueeze(-2)) @ U.mT
    return (A + A.mT) / 2


def spd(*batch: int, n: int = 5, condition: float = 100.0, seed: int = 0) -> Tensor:
    """Positive definite matrices with log-spaced eigenvalues from 1 down to 1/condition."""
    exponents = -torch.linspace(0, 1, n, dtype=torch.float64)
    return with_spectrum(
        torch.tensor(condition, dtype=torch.float64) ** exponents, *batch, seed=seed
    )


def exact(name: str, A: Tensor) -> Tensor:
    """The root or inverse root by a float64 eigendecomposition."""
    values, vectors = torch.linalg.eigh(A.double())
    return (vectors * values.unsqueeze(-2) ** EXPONENTS[name]) @ vectors.mT


def exact_gradient(name: str, A: Tensor, grad: Tensor) -> Tensor:
    """The gradient by the Daleckii-Krein formula in float64."""
    values, vectors = torch.linalg.eigh(A.double())
    grad = (grad.double() + grad.double().mT) / 2
    a, b = values.sqrt()[..., :, None], values.sqrt()[..., None, :]
    L = {"sqrtm": 1 / (a + b), "invsqrtm": -1 / (a * b * (a + b))}[name]
    return vectors @ (L * (vectors.mT @ grad @ vectors)) @ vectors.mT


def weights_like(A: Tensor) -> Tensor:
    """A fixed gradient of no symmetry, the same for each matrix of a batch."""
    i = torch.arange(A.shape[-1], dtype=torch.float64, device=A.device)
    return torch.sin(1 + 2.3 * i[:, None] + 0.7 * i**2).to(A.dtype).expand(A.shape)


def value_and_gradient(
    name: str, A: Tensor, method: object, backward: object, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """A cell's output and its gradient for fixed weights."""
    A = A.clone().requires_grad_()
    Y = FUNCTIONS[name](A, method=method, backward=backward)
    (grad,) = torch.autograd.grad(Y, A, weights_like(A) if weights is None else weights)
    return Y.detach(), grad


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """The worst relative Frobenius error of a batch."""
    expected = expected.double()
    difference = torch.linalg.matrix_norm(actual.double() - expected)
    return float((difference / torch.linalg.matrix_norm(expected)).max())
