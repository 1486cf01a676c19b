"""Properties of the roots over the whole grid of methods and rules."""

from functools import partial
from itertools import product

import pytest
import torch

from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from tests.cases import (
    EXACT_METHODS,
    METHOD_ERROR,
    RULE_COSINE,
    RULE_ERROR,
)
from tests.counted import Counted
from tests.properties import (
    FUNCTIONS,
    exact,
    exact_gradient,
    relative_error,
    rotation,
    spd,
    value_and_gradient,
    weights_like,
    with_spectrum,
)

per_method = pytest.mark.parametrize(("name", "method"), list(product(FUNCTIONS, METHODS)))
per_cell = pytest.mark.parametrize(
    ("name", "method", "backward"), list(product(FUNCTIONS, METHODS, BACKWARDS))
)


def test_every_registered_name_has_a_case() -> None:
    assert METHOD_ERROR.keys() == METHODS.keys()
    assert RULE_ERROR.keys() == BACKWARDS.keys()
    assert RULE_COSINE.keys() == {name for name, error in RULE_ERROR.items() if error is None}


@pytest.mark.parametrize("menu", [METHODS, BACKWARDS])
def test_a_key_is_the_snake_case_of_its_class(menu: dict[str, type]) -> None:
    for key, cls in menu.items():
        assert key.replace("_", "") == cls.__name__.lower()


@per_method
def test_value(name: str, method: str, counted: Counted) -> None:
    for n, shape in product((5, 1, 0), ((), (0,), (2,), (1, 1), (2, 3))):
        A = spd(*shape, n=n)
        before = A.clone()
        Y = FUNCTIONS[name](A, method=method)
        with counted(n, shape):
            assert Y.shape == A.shape
            assert torch.equal(A, before)
            if A.numel():
                assert relative_error(Y, exact(name, A)) <= METHOD_ERROR[method]
                assert relative_error(Y, Y.mT) < 1e-11


@per_method
def test_an_empty_batch_has_an_empty_gradient(name: str, method: str) -> None:
    for shape in [(0, 3, 3), (2, 0, 0)]:
        A = torch.zeros(shape, requires_grad=True)
        FUNCTIONS[name](A, method=method).sum().backward()
        assert A.grad is not None
        assert A.grad.shape == shape


@pytest.mark.support("float64", of="method")
@pytest.mark.support("float64", of="backward")
@per_cell
def test_gradient(name: str, method: str, backward: str) -> None:
    A = spd(3)
    _, grad = value_and_gradient(name, A, method, backward)
    expected = exact_gradient(name, A, weights_like(A))
    assert relative_error(grad, grad.mT) < 1e-12
    if method not in EXACT_METHODS and backward in ("autograd", "lyapunov", "smith"):
        return  # the derivative of an approximation: held by the published formulas instead
    bound = RULE_ERROR[backward]
    if bound is None:
        cosine = torch.cosine_similarity(grad.flatten(1), expected.flatten(1)).min()
        assert cosine > RULE_COSINE[backward]
    else:
        assert relative_error(grad, expected) <= bound


@per_cell
def test_each_matrix_of_a_batch_is_alone(name: str, method: str, backward: str) -> None:
    A = torch.cat([spd(2, condition=10.0), 1e3 * spd(2, condition=1e3, seed=1)])
    Y, grad = value_and_gradient(name, A, method, backward)
    for i in range(len(A)):
        Y_alone, grad_alone = value_and_gradient(name, A[i], method, backward)
        assert relative_error(Y_alone, Y[i]) < 1e-12
        assert relative_error(grad_alone, grad[i]) < 1e-9


@per_cell
def test_commutes_with_rotation(name: str, method: str, backward: str) -> None:
    A, Q, weights = spd(2), rotation(n=5, seed=3), weights_like(spd(2))
    Y, grad = value_and_gradient(name, A, method, backward, weights)
    turned = value_and_gradient(name, Q @ A @ Q.T, method, backward, Q @ weights @ Q.T)
    assert relative_error(turned[0], Q @ Y @ Q.T) < 1e-10
    assert relative_error(turned[1], Q @ grad @ Q.T) < 1e-7


@per_method
def test_scales_with_its_input(name: str, method: str, counted: Counted) -> None:
    A = spd(2).float()
    power = {"sqrtm": 0.5, "invsqrtm": -0.5}[name]
    for scale in (1e-20, 1e-3, 1e20):
        expected = FUNCTIONS[name](A, method=method) * scale**power
        with counted(scale):
            assert relative_error(FUNCTIONS[name](scale * A, method=method), expected) < 1e-4


@per_cell
def test_both_roots_from_one_pass(name: str, method: str, backward: str) -> None:
    A, weights = spd(2), weights_like(spd(2))
    joint_input = A.clone().requires_grad_()
    roots = dict(
        zip(
            FUNCTIONS,
            F.sqrtm_and_invsqrtm(joint_input, method=method, backward=backward),
            strict=True,
        )
    )
    (grad,) = torch.autograd.grad(roots[name], joint_input, weights, retain_graph=True)
    Y, alone = value_and_gradient(name, A, method, backward, weights)
    assert relative_error(roots[name].detach(), Y) < 1e-12
    assert relative_error(grad, alone) < 1e-9
    (joint,) = torch.autograd.grad(roots["sqrtm"].sum() + 2 * roots["invsqrtm"].sum(), joint_input)
    parts = [
        value_and_gradient(part, A, method, backward, torch.ones_like(A))[1] for part in FUNCTIONS
    ]
    assert relative_error(joint, parts[0] + 2 * parts[1]) < 1e-9


@pytest.mark.parametrize("backward", [b for b in BACKWARDS if b not in ("lyapunov", "smith")])
def test_power_and_logarithm(backward: str, counted: Counted) -> None:
    if backward == "unrolled":
        backward = F.Unrolled("eigh")
    A = spd(2, condition=10.0).requires_grad_()
    values, vectors = torch.linalg.eigh(A.detach())
    powers = {p: (partial(F.powm, p=p), values**p) for p in (2.0, 1.0, 1 / 3, -1.0, 0.0, -2.5)}
    for name, (f, raised) in {**powers, "log": (F.logm, values.log())}.items():
        with counted(name):
            Y = f(A, backward=backward)
            expected = (vectors * raised.unsqueeze(-2)) @ vectors.mT
            assert relative_error(Y.detach(), expected) < 1e-12
            assert torch.autograd.grad(Y.sum(), A)[0].isfinite().all()


SPECTRA = {
    "identity": torch.ones(6),
    "pairs": torch.tensor([1.0, 1.0, 0.5, 0.5, 0.1, 0.1]),
    "rank one plus eps": torch.tensor([1.0, 0.01, 0.01, 0.01, 0.01, 0.01]),
    "simple": torch.linspace(0.1, 1, 6),
}


@pytest.mark.parametrize("p", [2.0, 1 / 3, -1.0, "log"])
def test_loewner_of_every_function_is_the_directional_derivative(
    p: float | str, counted: Counted
) -> None:
    for spectrum, values in SPECTRA.items():
        A = with_spectrum(values.double())
        E = weights_like(A) + weights_like(A).mT
        function = F.logm if p == "log" else lambda A: F.powm(A, p)
        _, actual = torch.func.jvp(function, (A,), (E,))
        h = 1e-6
        expected = (function(A + h * E) - function(A - h * E)) / (2 * h)
        with counted(spectrum):
            assert relative_error(actual, expected) < 1e-6


def test_a_half_power_is_the_root_with_all_its_methods() -> None:
    A = spd()
    assert torch.equal(F.powm(A, 0.5, method="pade"), F.sqrtm(A, method="pade"))
    assert torch.equal(F.powm(A, -0.5, method="pade"), F.invsqrtm(A, method="pade"))


def test_a_users_own_method_and_rule_need_no_registration() -> None:
    class Diagonal(F.DirectMethod):
        def sqrtm(self, A: torch.Tensor) -> torch.Tensor:
            return torch.diag_embed(A.diagonal(dim1=-2, dim2=-1).sqrt())

    class Half(F.Rule):
        reads = ("outputs",)

        def vjp(self, fn: F.MatrixFunction, saved: F.Saved, grad: torch.Tensor) -> torch.Tensor:
            return grad / 2

    A = (4 * torch.eye(2)).requires_grad_()
    Y = F.sqrtm(A, method=Diagonal(), backward=Half())
    Y.sum().backward()
    assert torch.equal(Y, 2 * torch.eye(2))
    assert torch.equal(A.grad, torch.full((2, 2), 0.5))
    with pytest.raises(F.UnsupportedError, match=r"cannot compute invsqrtm.*eigh"):
        F.invsqrtm(A, method=Diagonal())


@pytest.mark.parametrize("rule", list(BACKWARDS))
def test_a_rule_keeps_only_what_it_reads(rule: str) -> None:
    kept: list[torch.Tensor] = []
    A = spd(2).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        F.sqrtm(A, method="polar_express", backward=rule)
    matrices = {t.data_ptr() for t in kept if t.dim() >= 2}
    # Beside one: the input for its norm, and the root for the second derivative.
    expected = {"lyapunov": 2, "loewner": 2}.get(rule, 1)
    assert rule == "autograd" or len(matrices) == expected
