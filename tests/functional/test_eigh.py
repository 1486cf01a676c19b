"""The differentiable eigendecomposition."""

from itertools import product

import pytest
import torch

from covlayers import functional as F
from covlayers.functional import BACKWARDS
from tests.counted import Counted
from tests.properties import relative_error, spd, weights_like, with_spectrum

RULES = [name for name, rule in BACKWARDS.items() if isinstance(rule(), F.GapRule | F.Autograd)]
per_rule = pytest.mark.parametrize("backward", RULES)


def gradient(A: torch.Tensor, backward: object) -> torch.Tensor:
    A = A.clone().requires_grad_()
    values, vectors = F.eigh(A, backward=backward)
    loss = (vectors * weights_like(A)).sum() + (values * torch.arange(1.0, 1 + A.shape[-1])).sum()
    return torch.autograd.grad(loss, A)[0]


def test_the_rules_of_eigh_are_the_gap_rules_and_autograd() -> None:
    assert len(RULES) == 8


@per_rule
def test_rebuilds_its_input(backward: str, counted: Counted) -> None:
    for n, shape in product((5, 1, 0), ((), (0,), (2,), (2, 3))):
        A = spd(*shape, n=n) - 0.3 * torch.eye(n, dtype=torch.float64)
        values, vectors = F.eigh(A, backward=backward)
        with counted(n, shape):
            assert values.shape == A.shape[:-1]
            assert vectors.shape == A.shape
            assert torch.equal(values, values.sort(-1).values)
            assert torch.allclose((vectors * values.unsqueeze(-2)) @ vectors.mT, A)


@per_rule
def test_the_first_large_entry_is_positive(backward: str) -> None:
    for seed in range(5):
        A = spd(4, seed=seed)
        vectors = F.eigh(A, backward=backward)[1]
        for column in vectors.mT.flatten(0, 1):
            assert next(x for x in column if x.abs() >= 0.999 * column.abs().max()) > 0
        flipped = F.eigh(torch.eye(5).double() @ A @ torch.eye(5).double(), backward=backward)[1]
        assert torch.allclose(flipped, vectors)


@pytest.mark.parametrize(
    ("backward", "bound"),
    [
        ("autograd", 1e-12),
        ("exact_gaps", 1e-12),
        ("pade_gaps", 1e-12),
        ("truncated_gaps", 1e-12),
        ("lorentzian_gaps", 1e-7),
        (F.TaylorGaps(200), 1e-12),
        (F.PowerIteration(200), 1e-12),
        (F.ClippedGaps(1e-3), 1e-12),
    ],
)
def test_gradient_against_finite_differences(backward: object, bound: float) -> None:
    A = spd(n=4, condition=20.0)
    expected = torch.zeros_like(A)
    h = 1e-6

    def loss(A: torch.Tensor) -> torch.Tensor:
        values, vectors = torch.linalg.eigh(A)
        vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        return (vectors * weights_like(A)).sum() + (values * torch.arange(1.0, 5.0)).sum()

    for i in range(4):
        for j in range(4):
            E = torch.zeros_like(A)
            E[i, j] += h / 2
            E[j, i] += h / 2
            expected[i, j] = (loss(A + E) - loss(A - E)) / (2 * h)
    assert relative_error(gradient(A, backward), expected) < max(1e-7, bound)
    assert relative_error(gradient(A, backward), gradient(A, "autograd")) < bound


@per_rule
def test_each_matrix_of_a_batch_is_alone(backward: str) -> None:
    A = torch.cat([spd(2, condition=10.0), 1e3 * spd(1)])
    together = gradient(A, backward)
    for i in range(3):
        assert relative_error(gradient(A[i], backward), together[i]) < 1e-9


@pytest.mark.parametrize("backward", [name for name in RULES if name != "autograd"])
def test_finite_gradient_at_ties(backward: str, counted: Counted) -> None:
    for spectrum in ([1.0, 1, 1, 1], [2.0, 2, 1, 1], [0.0, 0, 0, 1], [0.0] * 4):
        values = torch.tensor(spectrum).double()
        for what, A in {"diagonal": values.diag(), "turned": with_spectrum(values)}.items():
            with counted(what, spectrum):
                assert torch.isfinite(gradient(A, backward)).all()


def test_noise_does_not_choose_the_signs() -> None:
    """The eigenvectors of a symmetric Toeplitz matrix are even or odd: entries tie in pairs."""
    lags = torch.arange(12.0)
    A = 0.8 ** (lags[:, None] - lags).abs()
    vectors = F.eigh(A)[1]
    for seed in range(10):
        noise = torch.randn(12, 12, generator=torch.Generator().manual_seed(seed))
        noisy = F.eigh(A + 1e-6 * (noise + noise.T))[1]
        assert ((vectors * noisy).sum(0) > 0.99).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [6, 32])
def test_a_gap_of_rounding_is_a_tie(dtype: torch.dtype, n: int) -> None:
    """The projector on an eigenspace, whose gradient is 1 / (3 - 1) across the gap alone."""
    values = torch.ones(n, dtype=torch.float64)
    values[n // 2 :] = 3
    wide = with_spectrum(values, seed=3)
    P = (wide - torch.eye(n)) / 2
    W = (weights_like(wide) + weights_like(wide).mT) / 2
    across = P @ W @ (torch.eye(n) - P)
    expected = (across + across.mT) / 2

    A = wide.to(dtype).requires_grad_()
    upper = F.eigh(A)[1][:, n // 2 :]
    (grad,) = torch.autograd.grad((upper @ upper.T * W.to(dtype)).sum(), A)
    assert relative_error(grad, expected) < 20 * n * torch.finfo(dtype).eps
    Y = F.sqrtm(A, method="eigh", backward="exact_gaps")
    (root_grad,) = torch.autograd.grad((Y * W.to(dtype)).sum(), A)
    (exact,) = torch.autograd.grad((F.sqrtm(A, method="eigh") * W.to(dtype)).sum(), A)
    assert relative_error(root_grad, exact.double()) < 20 * n * torch.finfo(dtype).eps


def test_an_invariant_loss_has_its_exact_gradient_at_a_tie() -> None:
    A = torch.diag(torch.tensor([1.0, 1.0, 4.0], dtype=torch.float64)).requires_grad_()
    _, vectors = F.eigh(A)
    leading = vectors[:, 2:] @ vectors[:, 2:].T  # does not see the tied pair's rotation
    (grad,) = torch.autograd.grad((leading * weights_like(A)).sum(), A)
    W = (weights_like(A) + weights_like(A).T) / 2
    expected = torch.zeros_like(A)
    expected[:2, 2] = W[:2, 2] / 3
    expected[2, :2] = W[2, :2] / 3
    assert torch.allclose(grad, expected)
