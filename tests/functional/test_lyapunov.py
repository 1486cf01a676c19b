"""The Lyapunov solvers against the equation they solve, and against scipy."""

import pytest
import scipy.linalg
import torch

from covlayers import functional as F
from covlayers.functional.solvers import SOLVERS, SignSolver, SmithSolver
from tests.properties import relative_error, spd

# Relative residual in float64 at condition numbers of S of 10 and 1e3. The sign iteration is
# published with eight steps, which damp small eigenvalues.
RESIDUAL = {"eigh": (1e-13, 1e-10), "sign": (0.05, 1.0), "smith": (1e-13, 1e-10)}


def test_every_solver_has_a_case() -> None:
    assert RESIDUAL.keys() == SOLVERS.keys()


@pytest.mark.parametrize("shape", [(), (0,), (2,), (2, 3)])
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("solver", SOLVERS)
def test_solves_the_equation(solver: str, symmetric: bool, shape: tuple[int, ...]) -> None:
    for condition, bound in zip((10.0, 1e3), RESIDUAL[solver], strict=True):
        S = spd(*shape, condition=condition)
        Q = torch.randn_like(S)
        Q = Q + Q.mT if symmetric else Q
        X = F.solve_lyapunov(S, Q, solver=solver)
        assert X.shape == S.shape
        if S.numel():
            assert relative_error(S @ X + X @ S, Q) <= bound
            assert not symmetric or torch.allclose(X, X.mT)


@pytest.mark.parametrize("solver", ["eigh", "smith", "auto"])
def test_equals_scipy(solver: str) -> None:
    S, Q = spd(condition=1e4), torch.randn(5, 5, dtype=torch.float64)
    expected = scipy.linalg.solve_sylvester(S.numpy(), S.numpy(), Q.numpy())
    X = F.solve_lyapunov(S, Q, solver=solver)
    assert relative_error(X, torch.from_numpy(expected)) < 1e-10


@pytest.mark.parametrize("solver", ["eigh", "smith"])
def test_float32_at_condition_1e3(solver: str) -> None:
    S, Q = spd(8, n=32, condition=1e3), torch.randn(8, 32, 32, dtype=torch.float64)
    expected = F.solve_lyapunov(S, Q, solver="eigh")
    assert relative_error(F.solve_lyapunov(S.float(), Q.float(), solver=solver), expected) < 1e-4


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_equation_is_alone_and_batches_broadcast(solver: str) -> None:
    S, Q = torch.cat([spd(2), 100 * spd(1, condition=2.0)]), torch.randn(3, 5, 5).double()
    X = F.solve_lyapunov(S, Q, solver=solver)
    for i in range(3):
        assert torch.allclose(X[i], F.solve_lyapunov(S[i], Q[i], solver=solver), rtol=1e-9)
    one = S[0].clone().requires_grad_()
    many = F.solve_lyapunov(one, Q, solver=solver)
    assert torch.allclose(many[2], F.solve_lyapunov(S[0], Q[2], solver=solver), rtol=1e-9)
    many.sum().backward()
    assert one.grad.shape == (5, 5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_singular_matrix_gives_a_finite_solution(solver: str) -> None:
    for S in (torch.zeros(3, 3), torch.diag(torch.tensor([1.0, 1.0, 0.0]))):
        assert torch.isfinite(F.solve_lyapunov(S, torch.eye(3), solver=solver)).all()


def test_more_steps_converge() -> None:
    S, Q = spd(condition=1e3), torch.randn(5, 5, dtype=torch.float64)
    exact = F.solve_lyapunov(S, Q, solver="eigh")
    sign = [
        relative_error(F.solve_lyapunov(S, Q, solver=SignSolver(k)), exact) for k in (8, 16, 40)
    ]
    smith = [
        relative_error(F.solve_lyapunov(S, Q, solver=SmithSolver(1e-3, k)), exact)
        for k in (2, 5, 10)
    ]
    for errors in (sign, smith):
        assert errors[0] > errors[1] > errors[2]
        assert errors[2] < 1e-10


@pytest.mark.parametrize("solver", ["eigh", "sign", "smith"])
def test_an_indefinite_matrix_gives_nan_and_its_neighbour_a_solution(solver: str) -> None:
    eye = torch.eye(3, dtype=torch.float64)
    S = torch.stack([-eye, torch.diag(torch.tensor([1.0, 1.0, -0.5]).double()), eye])
    X = F.solve_lyapunov(S, eye.expand_as(S), solver=solver)
    assert X[:2].isnan().all()
    assert torch.allclose(X[2], eye / 2)
