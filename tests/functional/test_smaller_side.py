"""A function of a covariance is one function, whichever side it is computed on.

References are decompositions of the C x C covariance in float64, written out here. Measured at most
with torch 2.14: values 1e-6 and gradients 2e-6 in float32; between the sides in float64 5e-13.
"""

import math
import warnings
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from covlayers.functional.by_positions import cell_by_positions
from covlayers.functional.functions import INVSQRT, LOG, SQRT, power
from tests.properties import relative_error

C = 8
POSITIONS = (2, 5, 8, 11)  # fewer than channels, as many, and more
FUNCTIONS = (SQRT, INVSQRT, LOG, power(0.3), power(-1.0))
LAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "sqrtm": torch.sqrt,
    "invsqrtm": torch.rsqrt,
    "logm": torch.log,
}
# As the docstring of covariance_function says: a method with a spectrum, or a published one.
ON_POSITIONS = {
    *product(
        ("auto", "eigh", "newton_schulz", "pade", "taylor"),
        ["loewner", "lyapunov", "power_iteration", *[r for r in BACKWARDS if r.endswith("gaps")]],
    ),
    *product(("newton_schulz", "pade", "taylor"), ["autograd"]),
}
CELLS = pytest.mark.parametrize(("method", "rule"), sorted(ON_POSITIONS))


def served(fn: F.MatrixFunction, method: str, rule: str) -> bool:
    try:
        METHODS[method]().check((fn,))
        BACKWARDS[rule]().check((fn,))
    except F.UnsupportedError:
        return False
    return True


def features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) + 3


def weights(*shape: int) -> Tensor:
    return features(*shape, seed=9) - 3


def both(x: Tensor, *args: object, **options: object) -> list[list[Tensor]]:
    """Value and gradient on either side."""
    found = []
    for side in ("channels", "positions"):
        leaf = x.clone().requires_grad_()
        Y = F.covariance_function(leaf, *args, side=side, **options)  # type: ignore[arg-type]
        G = weights(*Y.shape).to(Y.dtype)
        found.append([Y.detach(), *torch.autograd.grad(Y, leaf, G)])
    return found


@CELLS
@pytest.mark.parametrize("M", POSITIONS)
def test_both_sides_agree(method: str, rule: str, M: int) -> None:
    for fn in FUNCTIONS:
        for shrinkage, center in product((None, 0.2, 1.0), (True, False)):
            if served(fn, method, rule):
                x = features(2, C, M)
                options = {"method": method, "backward": rule, "center": center}
                options |= {"eps": 0.1, "shrinkage": shrinkage}
                full, small = both(x, fn, **options)
                assert relative_error(small[0], full[0]) < 1e-12, (fn, shrinkage, center)
                assert relative_error(small[1], full[1]) < 1e-10, (fn, shrinkage, center)


def test_what_knows_no_formula_is_refused() -> None:
    x = features(C, 5)
    for fn, method, rule in product((SQRT, LOG), METHODS, BACKWARDS):
        if not served(fn, method, rule):
            continue
        call = lambda: F.covariance_function(x, fn, method=method, backward=rule, side="positions")
        if (method, rule) in ON_POSITIONS:
            call()
        else:
            with pytest.raises(F.UnsupportedError, match="side='positions' has no formula"):
                call()
            assert cell_by_positions(fn, METHODS[method](), BACKWARDS[rule]()) is None


@pytest.mark.parametrize("M", POSITIONS)
def test_published_methods_are_their_formula(M: int) -> None:
    """Newton-Schulz, Taylor and Padé, typed out for the C x C covariance."""
    x = features(3, C, M)
    z = x - x.mean(-1, keepdim=True)
    identity = torch.eye(C, dtype=x.dtype)
    A = z @ z.mT / M + 0.01 * identity
    trace = A.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None]
    norm = torch.linalg.matrix_norm(A, keepdim=True)
    Y, Z = A / trace, identity.expand_as(A)
    for _ in range(5):
        step = (3 * identity - Z @ Y) / 2
        Y, Z = Y @ step, step @ Z
    B = identity - A / norm
    series, term, c = identity.expand_as(A), identity, 1.0
    for k in range(1, 11):
        c *= (k - 1.5) / k
        term = term @ B
        series = series + c * term
    P, Q = identity, identity
    for k in range(5):
        P = P @ (identity - B * math.cos((2 * k + 1) * math.pi / 22) ** 2)
        Q = Q @ (identity - B * math.cos((k + 1) * math.pi / 11) ** 2)
    expected = {
        ("sqrtm", "newton_schulz"): trace.sqrt() * Y,
        ("invsqrtm", "newton_schulz"): Z / trace.sqrt(),
        ("sqrtm", "taylor"): norm.sqrt() * series,
        ("sqrtm", "pade"): norm.sqrt() * torch.linalg.solve(Q, P),
        ("invsqrtm", "pade"): torch.linalg.solve(P, Q) / norm.sqrt(),
    }
    for (name, method), value in expected.items():
        for side in ("channels", "positions"):
            found = F.covariance_function(x, name, eps=0.01, method=method, side=side)
            assert relative_error(found, value) < 1e-12, (name, method, side)


def exact(x: Tensor, name: str, eps: float, G: Tensor) -> tuple[Tensor, Tensor]:
    """Value and gradient by the Daleckii-Krein formula from singular vectors, in float64."""
    M = x.shape[-1]
    z = (x.double() - x.double().mean(-1, keepdim=True)) / M**0.5
    U, singular, V = torch.linalg.svd(z)
    rank = min(z.shape[-2:])
    singular = torch.where(singular > 1e-13 * singular[..., :1], singular, 0.0)  # of rounding
    Uz = singular.unsqueeze(-1) * V[..., :rank, :]
    squares = torch.nn.functional.pad(singular**2, (0, x.shape[-2] - rank))
    values = squares + (eps or torch.finfo(x.dtype).eps * squares[..., :1])
    f = LAWS[name](values if eps or name != "sqrtm" else squares)
    a, b = values[..., :, None], values[..., None, :]
    roots = a.sqrt() + b.sqrt()
    if name == "logm":
        t = (a / b).log() / 2
        ratio = torch.where(t.abs() < 1e-6, 1.0, t / torch.where(t == 0, 1.0, t.sinh()))
        L = ratio / (a * b).sqrt()
    else:
        L = 1 / roots if name == "sqrtm" else -1 / ((a * b).sqrt() * roots)
    G = (G.double() + G.double().mT) / 2
    gradient = 2 / M**0.5 * U @ (L * (U.mT @ G @ U))[..., :rank] @ Uz
    return (U * f.unsqueeze(-2)) @ U.mT, gradient


def damage(x: Tensor, kind: str) -> Tensor:
    M = x.shape[-1]
    if kind == "constant channels":
        x[:, ::3] = 1.5
    if kind == "repeated positions":
        x[..., M // 2 + 1 :] = x[..., : M - M // 2 - 1]
    return x


@pytest.mark.parametrize("eps", [1e-5, 1e-3])
@pytest.mark.parametrize("kind", ["plain", "constant channels", "repeated positions"])
def test_float32_keeps_its_digits(kind: str, eps: float) -> None:
    """The root; the channels give up to 4e-3 in value and 3e-4 in gradient."""
    for M, scale in product((2, 5, 12, 24), (1e-15, 1e-6, 1.0, 1e6, 1e15)):
        x = scale * damage(features(3, 32, M, seed=M).float() - 3, kind)
        G = weights(3, 32, 32).float()
        own = eps * float(x.double().var(-1, correction=0).mean())
        value, gradient = exact(x, "sqrtm", own, G)
        leaf = x.clone().requires_grad_()
        Y = F.covariance_function(leaf, eps=own, side="positions")
        (grad,) = torch.autograd.grad(Y, leaf, G)
        assert relative_error(Y.detach(), value) < 1e-5, (M, scale)
        assert relative_error(grad, gradient) < 2e-5, (M, scale)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("M", [2, 5, 7])
def test_no_eps_gives_the_documented_regularisation(M: int, name: str, dtype: torch.dtype) -> None:
    x, G = features(3, 24, M).to(dtype), weights(3, 24, 24).to(dtype)
    value, gradient = exact(x, name, 0.0, G)
    leaf = x.clone().requires_grad_()
    Y = F.covariance_function(leaf, name, side="positions")
    (grad,) = torch.autograd.grad(Y, leaf, G)
    rounding = 100 * torch.finfo(dtype).eps
    assert relative_error(Y.detach(), value) < rounding
    assert relative_error(grad, gradient) < rounding


def test_no_features_have_the_function_of_zero() -> None:
    for name, method in (("sqrtm", "eigh"), ("invsqrtm", "eigh"), ("sqrtm", "pade")):
        x = torch.ones(2, 6, 3, requires_grad=True)
        Y = F.covariance_function(x, name, method=method, side="positions")
        full = F.covariance_function(x, name, method=method, side="channels")
        assert torch.allclose(Y, full)
        (grad,) = torch.autograd.grad(Y.sum(), x)
        assert (grad == 0).all()


@pytest.mark.parametrize("shape", [(0, 6, 3), (2, 0, 3)])
def test_nothing_is_returned_for_nothing(shape: tuple[int, ...]) -> None:
    for shrinkage, center in product((None, 0.3), (True, False)):
        x = torch.ones(shape, requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Y = F.covariance_function(x, shrinkage=shrinkage, center=center, side="positions")
            (grad,) = torch.autograd.grad(Y.sum(), x)
        assert Y.shape == (*shape[:2], shape[1])
        assert grad.shape == shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_tiny_eps_or_shrinkage_leaves_a_finite_gradient(dtype: torch.dtype) -> None:
    for fn, small in product(FUNCTIONS, (1e-42, 1e-38, 1e-26, 1e-20, 1e-14, 1e-8)):
        for options in ({"eps": small}, {"shrinkage": small}):
            x = features(24, 9).to(dtype).requires_grad_()
            Y = F.covariance_function(x, fn, side="positions", **options)  # type: ignore[arg-type]
            (grad,) = torch.autograd.grad(Y.sum(), x)
            assert Y.isfinite().all(), (fn, options)
            assert grad.isfinite().all(), (fn, options)


@pytest.mark.parametrize("scale", [1e-18, 3e18])
def test_no_scale_overflows_before_the_covariance_does(scale: float) -> None:
    x = (scale * (features(200, 9) - 3)).float().requires_grad_()
    eps = 1e-3 * scale**2
    Y = F.covariance_function(x, eps=eps, side="positions")
    (grad,) = torch.autograd.grad(Y, x, weights(200, 200).float())
    exact_x = x.detach().double().requires_grad_()
    exact_Y = F.covariance_function(exact_x, eps=eps, side="positions")
    (exact_grad,) = torch.autograd.grad(exact_Y, exact_x, weights(200, 200))
    assert relative_error(Y.detach(), exact_Y.detach()) < 1e-5
    assert relative_error(grad, exact_grad) < 1e-4


@pytest.mark.parametrize("method", ["eigh", "pade", "newton_schulz"])
@pytest.mark.parametrize("shape", [(3, 9), (1, 5), (16, 100), (16, 16)])
def test_the_lyapunov_rule_with_more_positions(shape: tuple[int, int], method: str) -> None:
    x = features(*shape)
    for eps in (1e-5, 1e-1):
        full, small = both(x, "invsqrtm", method=method, backward="lyapunov", eps=eps)
        assert relative_error(small[1], full[1]) < 1e-6, eps


class Double(F.MatrixFunction):
    """Whose divided difference is a matrix only after broadcasting."""

    name = "double"
    zero_at_zero = True

    def f(self, values: Tensor) -> Tensor:
        return 2 * values

    def df(self, values: Tensor) -> Tensor:
        return torch.full_like(values, 2.0)

    def divided_difference(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.full_like(a, 2.0)


def test_functions_and_methods_of_ones_own() -> None:
    full, small = both(features(2, C, 5), Double(), eps=0.1)
    assert relative_error(small[0], full[0]) < 1e-12
    assert relative_error(small[1], full[1]) < 1e-12

    class Clamped(F.SpectralMethod):
        def decompose(self, A: Tensor) -> tuple[Tensor, Tensor]:
            values, vectors = torch.linalg.eigh(A)
            return values.clamp_min(0.5), vectors

    x = features(64, 5)  # its eigenvalues are its own, so it takes the channels
    assert F.select(x, method=Clamped(), of_covariance=True).implementation == "its own steps"
    with pytest.raises(F.UnsupportedError, match="side='positions'"):
        F.covariance_function(x, method=Clamped(), side="positions")


@CELLS
def test_equal_eigenvalues_have_a_finite_gradient(method: str, rule: str) -> None:
    x = torch.linalg.qr(features(C, 4) - 3)[0]  # orthonormal columns: four eigenvalues tie
    full, small = both(x, method=method, backward=rule, center=False, eps=0.1)
    assert small[1].isfinite().all()
    if rule in ("autograd", "exact_gaps", "loewner", "lyapunov"):  # the others see rounding
        assert relative_error(small[1], full[1]) < 1e-9


@CELLS
def test_each_matrix_by_itself(method: str, rule: str) -> None:
    x = features(4, 3, C, 5)
    x[1, 2, 3, 4] = torch.nan
    x[2, 0, 0, 0] = torch.inf
    options = {"method": method, "backward": rule, "eps": 0.1}
    leaf = x.clone().requires_grad_()
    Y = F.covariance_function(leaf, side="positions", **options)  # type: ignore[arg-type]
    (grad,) = torch.autograd.grad(Y, leaf, torch.ones_like(Y))
    for i, j in product(range(4), range(3)):
        if (i, j) in ((1, 2), (2, 0)):
            assert Y[i, j].isnan().any()
            continue
        alone = x[i, j].clone().requires_grad_()
        y = F.covariance_function(alone, side="positions", **options)  # type: ignore[arg-type]
        assert relative_error(Y[i, j].detach(), y.detach()) < 1e-13
        assert (
            relative_error(grad[i, j], torch.autograd.grad(y, alone, torch.ones_like(y))[0]) < 1e-12
        )


def test_auto_takes_the_positions_when_they_are_few() -> None:
    few, many = torch.randn(2, 64, 9), torch.randn(2, 9, 64)
    for method in METHODS:
        chosen = F.select(few, method=method, of_covariance=True)
        on_positions = "side of the positions, 9 x 9 in place of 64 x 64" in chosen.implementation
        assert on_positions == (method != "polar_express")
        other = F.select(many, method=method, of_covariance=True)
        assert "side of the positions" not in other.implementation
        forced = F.select(few, method=method, of_covariance=True, side="channels")
        assert "side of the positions" not in forced.implementation
        Y = F.covariance_function(few, method=method, eps=0.1)
        side = "positions" if on_positions else "channels"
        assert Y.equal(F.covariance_function(few, method=method, eps=0.1, side=side))
    for x in (few, many):
        assert F.covariance_function(x, eps=0.1).shape == (2, x.shape[1], x.shape[1])


def test_bad_input() -> None:
    x = torch.randn(4, 6)
    with pytest.raises(F.InvalidValueError, match="side"):
        F.covariance_function(x, side="rows")
    with pytest.raises(F.InvalidValueError, match="function"):
        F.covariance_function(x, "sqrt")
    with pytest.raises(F.InvalidValueError, match="position"):
        F.covariance_function(x[:, :1])
    with pytest.raises(F.InvalidValueError, match="eps"):
        F.covariance_function(x, eps=-1.0)
    with pytest.raises(F.InvalidValueError, match="shrinkage"):
        F.covariance_function(x, shrinkage=1.5)
    with pytest.raises(F.InvalidTypeError, match="of_covariance"):
        F.select(x, of_covariance=1)  # type: ignore[arg-type]
