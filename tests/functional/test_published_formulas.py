"""The published cells against the formulas of their papers, typed out here."""

import mpmath
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from covlayers import functional as F
from tests.properties import spd, value_and_gradient, weights_like

ROUNDING = {"rtol": 1e-10, "atol": 1e-11}


def symmetric(A: Tensor) -> Tensor:
    return (A + A.mT) / 2


def test_isqrt_cov() -> None:
    A = spd(3)
    Y, grad = value_and_gradient("sqrtm", A, "newton_schulz", None)

    def published(A: Tensor) -> Tensor:
        norm = A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
        identity = torch.eye(5, dtype=A.dtype)
        y, z = A / norm, identity.expand_as(A)
        for _ in range(5):
            w = 0.5 * (3 * identity - z @ y)
            y, z = y @ w, w @ z
        return norm.sqrt() * y

    A.requires_grad_()
    expected = published(A)
    assert_close(Y, expected, **ROUNDING)
    (expected_grad,) = torch.autograd.grad(expected, A, symmetric(weights_like(A)))
    assert_close(grad, expected_grad, **ROUNDING)


def test_iternorm() -> None:
    A = spd(3)
    norm = A.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    P = torch.eye(5, dtype=A.dtype).expand_as(A)
    for _ in range(5):
        P = 0.5 * (3 * P - P @ P @ P @ (A / norm))
    assert_close(F.invsqrtm(A, method="newton_schulz"), P / norm.sqrt(), **ROUNDING)


def normalised(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    norm = A.flatten(-2).norm(dim=-1)[..., None, None]
    identity = torch.eye(A.shape[-1], dtype=A.dtype)
    return identity - A / norm, norm, identity


@pytest.mark.parametrize("sign", [1, -1])
def test_matrix_taylor_polynomial(sign: int) -> None:
    A = spd(3)
    B, norm, identity = normalised(A)
    total, power = identity, identity
    for k in range(1, 11):
        power = power @ B
        total = total + float((-1) ** k * mpmath.binomial(mpmath.mpf(sign) / 2, k)) * power
    function = F.sqrtm if sign == 1 else F.invsqrtm
    assert_close(function(A, method="taylor"), total * norm ** (sign / 2), **ROUNDING)


def published_pade(degree: int) -> tuple[list[float], list[float]]:
    with mpmath.workdps(40):
        series = mpmath.taylor(lambda x: mpmath.sqrt(1 - x), 0, 2 * degree)
        p, q = mpmath.pade(series, degree, degree)
        return [float(c) for c in p], [float(c) for c in q]


@pytest.mark.parametrize("degree", [1, 3, 5, 8])
def test_matrix_pade_approximant(degree: int) -> None:
    A = spd(3)
    B, norm, identity = normalised(A)
    p, q = published_pade(degree)
    powers = [identity]
    for _ in range(degree):
        powers.append(powers[-1] @ B)
    P = sum(c * power for c, power in zip(p, powers, strict=True))
    Q = sum(c * power for c, power in zip(q, powers, strict=True))
    method = F.Pade(degree)
    tolerance = {"rtol": 1e-8, "atol": 1e-9} if degree > 5 else ROUNDING
    assert_close(F.sqrtm(A, method=method), norm.sqrt() * torch.linalg.solve(Q, P), **tolerance)
    inverse = torch.linalg.solve(P, Q) / norm.sqrt()
    assert_close(F.invsqrtm(A, method=method), inverse, **tolerance)


def eight_sign_steps(b: Tensor, c: Tensor) -> Tensor:
    identity = torch.eye(b.shape[-1], dtype=b.dtype)
    for _ in range(8):
        c = 0.5 * (c @ (3 * identity - b @ b) - b @ b @ c + b @ c @ b)
        b = 0.5 * b @ (3 * identity - b @ b)
    return c / 2


@pytest.mark.parametrize("method", ["pade", "taylor"])
@pytest.mark.parametrize("condition", [10.0, 1e4])
def test_lyapunov_gradient_of_the_root(method: str, condition: float) -> None:
    A = spd(3, condition=condition)
    Y, grad = value_and_gradient("sqrtm", A, method, None)
    scale = A.flatten(-2).norm(dim=-1)[..., None, None].sqrt()
    expected = eight_sign_steps(Y / scale, symmetric(weights_like(A)) / scale)
    assert_close(grad, expected, **ROUNDING)


@pytest.mark.parametrize("method", ["pade", "taylor"])
@pytest.mark.parametrize("condition", [10.0, 1e4])
def test_lyapunov_gradient_of_the_inverse_root(method: str, condition: float) -> None:
    A = spd(3, condition=condition)
    Z, grad = value_and_gradient("invsqrtm", A, method, None)
    norm = Z.flatten(-2).norm(dim=-1)[..., None, None]  # of each matrix, not of the batch
    c = -Z @ Z @ symmetric(weights_like(A)) @ Z @ Z
    assert_close(grad, eight_sign_steps(Z / norm, c / norm), rtol=1e-9, atol=1e-7)


def published_inverse_gap(rule: str, a: float, b: float) -> float:
    """K for the eigenvalues a (row) and b (column): an approximation of 1/(b - a)."""
    sign, large, small = (1, b, a) if b > a else (-1, a, b)
    return {
        "exact_gaps": 1 / (b - a),
        "clipped_gaps": sign / max(large - small, 0.01),
        "truncated_gaps": min(max(1 / (b - a), -1e10), 1e10),
        "taylor_gaps": sign / large * sum((small / large) ** k for k in range(10)),
        "pade_gaps": sign / large / (1 - small / large),
        "lorentzian_gaps": (b - a) / ((b - a) ** 2 + 1e-12),
    }[rule]


VALUES = torch.tensor([0.1, 0.101, 0.5, 0.50000001, 1.0], dtype=torch.float64)


@pytest.mark.parametrize(
    "rule",
    [
        "exact_gaps",
        "clipped_gaps",
        "truncated_gaps",
        "taylor_gaps",
        "pade_gaps",
        "lorentzian_gaps",
    ],
)
def test_gap_rules(rule: str) -> None:
    K = F.BACKWARDS[rule]().inverse_gaps(VALUES)
    assert torch.equal(K, -K.mT)
    for i, a in enumerate(VALUES.tolist()):
        for j, b in enumerate(VALUES.tolist()):
            expected = published_inverse_gap(rule, a, b) if i != j else 0.0
            assert K[i, j].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rule", [name for name in F.BACKWARDS if "gaps" in name])
def test_gap_rules_vanish_at_ties(rule: str) -> None:
    values = torch.tensor([0.0, 0.0, 0.5, 0.5, 1.0])
    K = F.BACKWARDS[rule]().inverse_gaps(values)
    assert torch.equal(K, -K.mT)
    assert torch.isfinite(K).all()
    assert not K[values[:, None] == values].any()


def test_svd_newton() -> None:
    A = spd(3)
    _, grad = value_and_gradient("sqrtm", A, "eigh", F.Unrolled(F.NewtonSchulz(3)))
    _, expected = value_and_gradient("sqrtm", A, F.NewtonSchulz(3), "autograd")
    assert_close(grad, expected, **ROUNDING)


@pytest.mark.parametrize("iterations", [0, 3, 19])
def test_power_iteration_with_deflation(iterations: int) -> None:
    """Every eigenvector in turn, by autograd through the deflations and the published series."""
    A = spd(n=4, condition=20.0)
    weights = weights_like(A)
    values, vectors = torch.linalg.eigh(A)
    signs = torch.sign(vectors.gather(0, vectors.abs().argmax(0, keepdim=True)))

    class LeadingVector(torch.autograd.Function):
        @staticmethod
        def forward(ctx, M, v):
            ctx.save_for_backward(M, v)
            return v.clone()

        @staticmethod
        def backward(ctx, grad):
            M, v = ctx.saved_tensors
            norm = (M @ v).norm()
            term = (torch.eye(4, dtype=M.dtype) - torch.outer(v, v)) / norm
            total = term
            for _ in range(iterations):
                term = M @ term / norm
                total = total + term
            return torch.outer(total @ grad, v), None

    A_ = A.clone().requires_grad_()
    M, loss = A_, 0.0
    for k in reversed(range(4)):
        v = LeadingVector.apply(M, (vectors * signs)[:, k])
        value = v.detach() @ M @ v.detach()  # the eigenvalue's exact gradient is v vᵀ
        loss = loss + (weights[:, k] * v).sum() + (k + 1) * value
        M = M - values[k] * torch.outer(v, v)
    (expected,) = torch.autograd.grad(loss, A_)
    A_ = A.clone().requires_grad_()
    values, vectors = F.eigh(A_, backward=F.PowerIteration(iterations))
    loss = (weights * vectors).sum() + (torch.arange(1.0, 5.0, dtype=A.dtype) * values).sum()
    (actual,) = torch.autograd.grad(loss, A_)
    assert_close(actual, symmetric(expected), **ROUNDING)


@pytest.mark.parametrize("name", ["sqrtm", "invsqrtm"])
@pytest.mark.parametrize("degree", [*range(1, 21), 30, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pade_at_every_degree(name: str, degree: int, dtype: torch.dtype) -> None:
    """``s coth(N artanh s)`` of the eigenvalues ``s²``, which no power of ``I - A`` enters."""
    vectors = torch.linalg.qr(torch.randn(2, 32, 32, dtype=torch.float64))[0]
    values = torch.logspace(-6, 0, 32, dtype=torch.float64)
    A = symmetric((vectors * values) @ vectors.mT)
    norm = values.norm()
    s = (values / norm).sqrt()
    tangent = torch.tanh((2 * degree + 1) * torch.atanh(s))
    f = norm.sqrt() * s / tangent if name == "sqrtm" else tangent / s / norm.sqrt()
    expected = (vectors * f) @ vectors.mT
    actual = getattr(F, name)(A.to(dtype), method=F.Pade(degree)).double()
    error = (actual - expected).norm(dim=(-2, -1)) / expected.norm(dim=(-2, -1))
    # Powers of I - A cancel down to 4^-m: 34 such losses were measured at m = 12. In fractions each
    # of m terms is divided by up to m²: 0.7 of that square was measured.
    eps = torch.finfo(dtype).eps
    assert error.max() < eps * (50 * 4**degree if 4**degree < eps**-0.5 else 4 * degree**2)


@pytest.mark.parametrize("name", ["sqrtm", "invsqrtm"])
def test_gradient_of_pade_at_a_high_degree(name: str) -> None:
    A = spd(2, n=4)
    method = F.Pade(16)
    assert torch.autograd.gradcheck(
        lambda A: getattr(F, name)(symmetric(A), method=method, backward="autograd"),
        (A.requires_grad_(),),
    )
