"""Derivatives of every order and mode, vmap and torch.compile."""

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from tests.cases import ANY_ORDER_RULES, EXACT_METHODS
from tests.properties import FUNCTIONS, relative_error, spd, value_and_gradient, weights_like

EXACT_CELLS = [
    ("eigh", "loewner"),
    ("eigh", "smith"),
    ("polar_express", "smith"),
    ("polar_express", "loewner"),
    ("newton_schulz", "autograd"),
    ("pade", "autograd"),
    ("taylor", "autograd"),
    ("eigh", "autograd"),
    ("auto", "loewner"),
]
exact_cells = pytest.mark.parametrize(
    ("name", "method", "backward"), [(name, *cell) for name in FUNCTIONS for cell in EXACT_CELLS]
)
per_cell = pytest.mark.parametrize(
    ("name", "method", "backward"), list(product(FUNCTIONS, METHODS, BACKWARDS))
)


def function(name: str, method: object, backward: object):
    return lambda A: FUNCTIONS[name](A, method=method, backward=backward)


@pytest.mark.support("gradcheck", of="method")
@pytest.mark.support("gradcheck", of="backward")
@pytest.mark.promise("differentiation", "gradcheck: tests of functions")
@pytest.mark.support("second derivative", of="method")
@exact_cells
def test_gradcheck(name: str, method: str, backward: str) -> None:
    A = spd(1, n=3, condition=10.0).requires_grad_()
    f = function(name, method, backward)
    assert gradcheck(
        f, A, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert gradgradcheck(f, A, check_fwd_over_rev=True)


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("backward", ["loewner", "smith"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivative_at_repeated_eigenvalues(name: str, backward: str, rank: int) -> None:
    A = torch.diag(torch.tensor([1.0] * rank + [0.25] * (3 - rank), dtype=torch.float64))
    assert gradgradcheck(function(name, "auto", backward), A.requires_grad_())


@pytest.mark.parametrize(("solver", "condition"), [("eigh", 10.0), ("smith", 10.0), ("sign", 1.5)])
def test_gradcheck_of_the_lyapunov_solution(solver: str, condition: float) -> None:
    S = spd(2, n=3, condition=condition).requires_grad_()
    Q = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    f = lambda S, Q: F.solve_lyapunov(S, Q, solver=solver)
    assert gradcheck(f, (S, Q), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(f, (S, Q), check_fwd_over_rev=True)


@exact_cells
def test_torch_func(name: str, method: str, backward: str) -> None:
    A = spd(3, n=3, condition=10.0)
    f = function(name, method, backward)
    assert torch.allclose(torch.func.vmap(f)(A), f(A))
    loss = lambda A: (f(A) ** 2 * weights_like(A)).sum()
    each = torch.func.vmap(torch.func.grad(loss))(A)
    assert torch.allclose(each, torch.func.grad(loss)(A))
    tangent = weights_like(A) + weights_like(A).mT
    _, derivative = torch.func.jvp(loss, (A,), (tangent,))
    assert torch.allclose(derivative, (torch.func.grad(loss)(A) * tangent).sum())
    hessian = torch.func.hessian(loss)(A[0])
    assert torch.allclose(hessian, torch.func.jacrev(torch.func.jacrev(loss))(A[0]))
    assert torch.allclose(torch.func.vmap(torch.func.hessian(loss))(A)[0], hessian)


@pytest.mark.support("forward mode", of="method")
@pytest.mark.support("forward mode", of="backward")
@pytest.mark.promise("differentiation", "forward mode: tests of functions")
@per_cell
def test_forward_mode_is_the_adjoint(name: str, method: str, backward: str) -> None:
    A = spd(2, n=3, condition=10.0)
    f = function(name, method, backward)
    grad = torch.func.grad(lambda A: (f(A) * weights_like(A)).sum())(A)
    E = weights_like(A).flip(-1) + weights_like(A).flip(-1).mT
    _, tangent = torch.func.jvp(f, (A,), (E,))
    assert torch.allclose((tangent * weights_like(A)).sum(), (grad * E).sum())


@pytest.mark.support("vmap", of="method")
@pytest.mark.support("vmap", of="backward")
@pytest.mark.promise("differentiation", "vmap: tests of functions")
@per_cell
def test_vmap(name: str, method: str, backward: str) -> None:
    A = spd(3, n=3, condition=10.0)
    f = function(name, method, backward)
    for g in (f, torch.func.grad(lambda A: (f(A) * weights_like(A)).sum())):
        assert torch.allclose(torch.func.vmap(g)(A), torch.stack([g(a) for a in A]))


@pytest.mark.support("batched gradient", of="method")
@pytest.mark.support("batched gradient", of="backward")
@pytest.mark.promise("differentiation", "batched gradient: tests of functions")
@per_cell
def test_batched_gradient(name: str, method: str, backward: str) -> None:
    A = spd(2, n=3, condition=10.0).requires_grad_()
    Y = function(name, method, backward)(A)
    weights = torch.randn(4, *A.shape, dtype=A.dtype)
    (batched,) = torch.autograd.grad(Y, A, weights, is_grads_batched=True, retain_graph=True)
    for actual, w in zip(batched, weights, strict=True):
        assert torch.allclose(actual, torch.autograd.grad(Y, A, w, retain_graph=True)[0])


@per_cell
def test_the_first_gradient_is_the_same_where_a_second_may_follow(
    name: str, method: str, backward: str
) -> None:
    A = spd(2).requires_grad_()
    out = FUNCTIONS[name](A, method=method, backward=backward)
    (plain,) = torch.autograd.grad(out, A, weights_like(A), retain_graph=True)
    (followed,) = torch.autograd.grad(out, A, weights_like(A), create_graph=True)
    assert relative_error(followed.detach(), plain) < 1e-10


def reverse_over_reverse(loss, A: Tensor):
    X = A.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(X), X, create_graph=True)
    return torch.autograd.grad((grad**2).sum() + (X**2).sum(), X)


def forward_over_reverse(loss, A: Tensor):
    return torch.func.hessian(loss)(A)


def functional_reverse_over_reverse(loss, A: Tensor):
    return torch.func.jacrev(torch.func.jacrev(loss))(A)


def reverse_over_forward(loss, A: Tensor):
    return torch.func.jacrev(torch.func.jacfwd(loss))(A)


MODES = [
    reverse_over_reverse,
    forward_over_reverse,
    functional_reverse_over_reverse,
    reverse_over_forward,
]
LOSSES = [
    lambda Y: (Y * weights_like(Y)).sum(),  # its gradient does not depend on Y
    lambda Y: (Y**2).sum(),
]
second_derivatives = list(product(MODES, LOSSES))


@pytest.mark.support("second derivative", of="backward")
@pytest.mark.promise("differentiation", "second derivative: tests of functions")
@pytest.mark.parametrize("backward", BACKWARDS)
@pytest.mark.parametrize("method", ["eigh", "polar_express", "pade"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_second_derivative_is_right_or_raises(
    name: str, method: str, backward: str, record_property
) -> None:
    A = spd(n=3, condition=2.0)
    f, right = function(name, method, backward), function(name, "eigh", "loewner")
    if backward not in ANY_ORDER_RULES:
        record_property("support", "raises UnsupportedError")
    for mode, loss in second_derivatives:
        if backward not in ANY_ORDER_RULES:
            with pytest.raises(F.UnsupportedError, match=r"no second derivative.*loewner"):
                mode(lambda A: loss(f(A)), A)
        elif method in EXACT_METHODS:
            if (method, backward, mode) == ("eigh", "autograd", reverse_over_forward):
                continue  # PyTorch's own forward derivative of eigh has a NaN gradient
            # Through minimax polynomials each order costs digits: 7e-6 was seen.
            tolerance = 1e-4 if (method, backward) == ("polar_express", "autograd") else 1e-8
            actual, expected = (mode(lambda A: loss(g(A)), A) for g in (f, right))
            for a, t in zip(actual, expected, strict=True):
                assert torch.allclose(a, t, rtol=tolerance, atol=tolerance)


def test_a_second_derivative_of_other_surrogates_raises() -> None:
    A = spd(n=3)
    for f in (
        lambda A: F.eigh(A, backward="taylor_gaps")[1],
        lambda A: torch.diag_embed(F.eigh(A, backward="power_iteration")[0]),
        F.logm,
        lambda A: F.powm(A, 3.0),
    ):
        for mode, loss in second_derivatives:
            with pytest.raises(F.UnsupportedError, match="no second derivative"):
                mode(lambda A: loss(f(A)), A)


# A rule decomposes the matrix itself unless the method has done so, as eigh does. Among the other
# methods newton_schulz has the shortest graph.
COMPILED = [
    *(("sqrtm", method, None) for method in METHODS),
    *(("sqrtm", "eigh", backward) for backward in ("smith", "taylor_gaps", "autograd")),
    *(("invsqrtm", "newton_schulz", backward) for backward in BACKWARDS),
    ("invsqrtm", "polar_express", "autograd"),
]


@pytest.mark.support("compile", of="method")
@pytest.mark.support("compile", of="backward")
@pytest.mark.promise("differentiation", "compile: tests of functions")
@pytest.mark.parametrize(("name", "method", "backward"), COMPILED)
def test_compiled_equals_eager(
    name: str, method: str, backward: str | None, whole_graph: Callable[..., Any]
) -> None:
    A = spd(2, n=4)
    compiled = whole_graph(function(name, method, backward))
    X = A.clone().requires_grad_()
    Y = compiled(X)
    (grad,) = torch.autograd.grad(Y, X, weights_like(A))
    expected_Y, expected_grad = value_and_gradient(name, A, method, backward)
    assert relative_error(Y.detach(), expected_Y) < 1e-12
    assert relative_error(grad, expected_grad) < 1e-12


@pytest.mark.full
def test_compiled_by_inductor_equals_eager() -> None:
    torch._dynamo.reset()
    x = torch.randn(4, 6, 20, dtype=torch.float64, requires_grad=True)

    def layer(x: Tensor) -> Tensor:
        A = F.covariance(x, eps=1e-3)
        return F.triu_vector(F.sqrtm(A, method="polar_express") + F.invsqrtm(A, method="pade"))

    weights = torch.randn(4, 21, dtype=torch.float64)
    expected = torch.autograd.grad(layer(x), x, weights)[0]
    actual = torch.autograd.grad(torch.compile(layer, fullgraph=True)(x), x, weights)[0]
    assert torch.allclose(actual, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: F.eigh(F.covariance(x))[1],
        lambda x: F.solve_lyapunov(F.covariance(x), F.covariance(x, center=False)),
        lambda x: F.whitening_matrix(F.covariance(x), kind="pca_cor"),
        lambda x: F.whitening_matrix(F.covariance(x), kind="cholesky"),
        lambda x: F.logm(F.covariance(x)),
        lambda x: F.whiten_color(x, 2 * x.flip(-2)),
    ],
)
def test_the_other_functions_compile(f, whole_graph: Callable[..., Any]) -> None:
    x = torch.randn(2, 4, 9, dtype=torch.float64, requires_grad=True)
    expected = f(x)
    actual = whole_graph(f)(x)
    weights = torch.randn_like(expected)
    assert torch.allclose(actual, expected)
    assert torch.allclose(
        torch.autograd.grad(actual, x, weights)[0], torch.autograd.grad(expected, x, weights)[0]
    )


@pytest.mark.support("export", of="method")
@pytest.mark.parametrize(("name", "method"), list(product(FUNCTIONS, METHODS)))
def test_every_method_exports(name: str, method: str) -> None:
    class Root(torch.nn.Module):
        def forward(self, A: Tensor) -> Tensor:
            return FUNCTIONS[name](A, method=method)

    A = spd(2).float()
    program = torch.export.export(Root(), (A,))
    expected = FUNCTIONS[name](A, method=method)
    assert torch.allclose(program.module()(A), expected, rtol=1e-4, atol=1e-6)
