"""Low precision, features without variance and unusual memory through every cell."""

from itertools import product

import pytest
import torch
from torch import Tensor

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from tests.cases import INFINITE_AT_TIES
from tests.counted import Counted
from tests.properties import (
    FUNCTIONS,
    spd,
    value_and_gradient,
    weights_like,
    with_spectrum,
)

HALVES = (torch.float16, torch.bfloat16)
per_method = pytest.mark.parametrize(("name", "method"), list(product(FUNCTIONS, METHODS)))
per_cell = pytest.mark.parametrize(
    ("name", "method", "backward"), list(product(FUNCTIONS, METHODS, BACKWARDS))
)


@per_cell
def test_features_without_variance_train(
    name: str, method: str, backward: str, counted: Counted
) -> None:
    for center in (True, False):
        x = torch.zeros(2, 5, 20)
        x[0, :2] = torch.randn(2, 20)
        x.requires_grad_()
        A = F.covariance(x, center=center, eps=1e-3)
        FUNCTIONS[name](A, method=method, backward=backward).square().sum().backward()
        with counted(f"center={center}"):
            assert (method, backward) in INFINITE_AT_TIES or torch.isfinite(x.grad).all()


@per_method
def test_a_slightly_negative_eigenvalue_gives_nan_or_a_bounded_result(
    name: str, method: str, counted: Counted
) -> None:
    bound = 2 if name == "sqrtm" else 4e4  # ten times the largest that PolarExpress reaches
    for exponent, n in product(range(-7, 0), (4, 64)):
        values = torch.tensor([-(10.0**exponent), 0.2, 0.5, 1.0], dtype=torch.float64)
        padded = torch.cat([values, torch.ones(n - 4).double()])
        Y = FUNCTIONS[name](with_spectrum(padded).float(), method=method)
        with counted(f"1e{exponent}", n):
            assert torch.isnan(Y).all() or Y.abs().max() < bound


def test_an_asymmetric_matrix_is_nan_where_it_cannot_raise() -> None:
    torch._dynamo.reset()
    A = spd(3)
    A[1, 0, 1] += 1
    Y = torch.func.vmap(F.sqrtm)(A)
    assert torch.isnan(Y[1]).all()
    assert torch.allclose(Y[[0, 2]], F.sqrtm(A[[0, 2]]))
    compiled = torch.compile(F.sqrtm, fullgraph=True, backend="aot_eager")(A)
    assert torch.isnan(compiled[1]).all()
    assert torch.allclose(compiled[[0, 2]], Y[[0, 2]])


class TestConvergence:
    """An eigendecomposition that fails is retried in float64, then raises."""

    @staticmethod
    def refuse(monkeypatch: pytest.MonkeyPatch, *dtypes: torch.dtype) -> None:
        eigh = torch.linalg.eigh

        def refusing(A: Tensor) -> tuple[Tensor, Tensor]:
            if A.dtype in dtypes:
                raise torch.linalg.LinAlgError("linalg.eigh: (Batch element 1): failed.")
            return eigh(A)

        monkeypatch.setattr(torch.linalg, "eigh", refusing)

    @pytest.mark.parametrize("f", [F.sqrtm, F.invsqrtm, F.logm, lambda A: F.eigh(A)[1]])
    def test_retried_in_float64(self, f, monkeypatch: pytest.MonkeyPatch) -> None:
        A = spd(2).float()
        expected = f(A)
        self.refuse(monkeypatch, torch.float32)
        assert torch.allclose(f(A), expected, rtol=1e-3, atol=1e-4)
        assert f(A).dtype == torch.float32

    def test_raises_and_names_the_matrix(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refuse(monkeypatch, torch.float32, torch.float64)
        with pytest.raises(F.ConvergenceError, match=r"\(2, 5, 5\).*Batch element 1.*identity"):
            F.sqrtm(spd(2).float())
        with pytest.raises(torch.linalg.LinAlgError):
            F.eigh(spd(2))


@pytest.mark.support("half input", of="method")
@pytest.mark.support("half input", of="backward")
@pytest.mark.promise("precision", "half through every cell: the result of float32, rounded once")
@per_cell
def test_half_is_rounded_once(name: str, method: str, backward: str, counted: Counted) -> None:
    for dtype in HALVES:
        A = spd(2, condition=5.0).to(dtype)
        weights = weights_like(A)
        actual = value_and_gradient(name, A, method, backward, weights)
        expected = value_and_gradient(name, A.float(), method, backward, weights.float())
        for what, half, single in zip(("value", "gradient"), actual, expected, strict=True):
            with counted(dtype, what):
                assert torch.equal(half, single.to(dtype))


@pytest.mark.support("autocast", of="method")
@pytest.mark.support("autocast", of="backward")
@pytest.mark.promise("precision", "every cell under autocast: bit for bit that without")
@per_cell
def test_autocast_changes_nothing(name: str, method: str, backward: str) -> None:
    A = spd(2).float().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Y = FUNCTIONS[name](A, method=method, backward=backward)
    (grad,) = torch.autograd.grad(Y, A, weights_like(A))  # outside autocast, as PyTorch asks
    expected = value_and_gradient(name, A.detach(), method, backward)
    assert torch.equal(Y, expected[0])
    assert torch.equal(grad, expected[1])


@pytest.mark.parametrize("backward", ["loewner", "smith", "lyapunov", "taylor_gaps"])
def test_a_backward_pass_under_autocast_stays_in_float32(backward: str) -> None:
    A = spd(3).float().requires_grad_()
    Y = F.sqrtm(A, method="polar_express", backward=backward)
    (expected,) = torch.autograd.grad(Y, A, weights_like(A), retain_graph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (actual,) = torch.autograd.grad(Y, A, weights_like(A))
    assert torch.equal(actual, expected)
