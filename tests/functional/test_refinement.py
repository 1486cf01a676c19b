"""``Eigh(refine=True)`` restores digits, and changes nothing else."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from covlayers import functional as F
from tests.properties import (
    FUNCTIONS,
    exact,
    exact_gradient,
    relative_error,
    spd,
    value_and_gradient,
    weights_like,
    with_spectrum,
)

REFINED = F.Eigh(refine=True)


def errors(name: str, A: torch.Tensor, method: F.Method) -> tuple[float, float]:
    Y, grad = value_and_gradient(name, A, method, "loewner")
    expected = exact_gradient(name, A, weights_like(A))
    return relative_error(Y, exact(name, A)), relative_error(grad, expected)


# Of value and gradient. Measured with torch 2.11 and 2.14, on one and two threads, over eight
# draws: at most 1.7e-6 and 3.4e-5 for the root, 3.9e-5 and 1.1e-4 for its inverse. Without
# refinement, at n = 200, at least 7.2e-6 and 2.1e-4, 4.7e-4 and 1.2e-3.
BOUNDS = {"sqrtm": (4e-6, 2e-4), "invsqrtm": (1e-4, 6e-4)}


@pytest.mark.parametrize("n", [16, 64, 200])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_digits_of_ill_conditioned_matrices(name: str, n: int) -> None:
    A = spd(8, n=n, condition=1e4).float()
    value, gradient = errors(name, A, REFINED)
    assert value < BOUNDS[name][0]
    assert gradient < BOUNDS[name][1]


# Measured as above: at most 4.5e-6 and 5.2e-5, without refinement at least 4.3e-5 and 4.6e-4.
@pytest.mark.parametrize(
    ("function", "bound"), [(F.logm, 2e-5), (lambda A, **m: F.powm(A, -0.8, **m), 2e-4)]
)
def test_digits_of_other_functions(function, bound: float) -> None:
    A = spd(8, n=64, condition=1e4)
    expected = function(A, method=F.Eigh())
    assert relative_error(function(A.float(), method=REFINED), expected) < bound


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("rank", [0, 1, 10, 39])
def test_singular_matrices_stay_regularised(name: str, rank: int) -> None:
    values = torch.zeros(40)
    values[40 - rank :] = torch.linspace(0.5, 1, rank)
    A = with_spectrum(values, 3).float()
    Y, grad = value_and_gradient(name, A, REFINED, "loewner")
    assert torch.isfinite(grad).all()
    spectrum = torch.linalg.eigvalsh(Y.double())
    if rank and name == "invsqrtm":  # between inverse roots of the largest eigenvalue and of noise
        assert spectrum.min() > 0.99
        assert spectrum.max() < 1.5 * torch.finfo(torch.float32).eps ** -0.5
    elif rank:
        assert spectrum.min() > -1e-6
        root = with_spectrum(values.sqrt(), 3)
        assert relative_error(Y, root) < 1e-4


@pytest.mark.parametrize("name", FUNCTIONS)
def test_repeated_eigenvalues(name: str) -> None:
    A = with_spectrum(torch.tensor([1e-4] * 20 + [1e-2] * 10 + [1.0] * 10), 3).float()
    assert max(errors(name, A, REFINED)) < 1e-3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_of_float64(name: str) -> None:
    A = spd(2, n=4).requires_grad_()
    f = lambda A: FUNCTIONS[name](A, method=REFINED)
    assert gradcheck(f, A, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(f, A)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_alone_mapped_and_compiled(name: str) -> None:
    A = spd(3, n=6, condition=1e3).float()
    f = lambda A: FUNCTIONS[name](A, method=REFINED)
    expected = f(A)
    compiled = torch.compile(f, backend="aot_eager", fullgraph=True)
    for actual in (torch.stack([f(a) for a in A]), torch.func.vmap(f)(A), compiled(A)):
        assert relative_error(actual, expected) < 1e-5


@pytest.mark.parametrize("build", [F.Eigh, F.Auto])
def test_a_wrong_option_is_named(build: type) -> None:
    with pytest.raises(F.InvalidTypeError, match="refine must be True or False, got 1"):
        build(refine=1)
