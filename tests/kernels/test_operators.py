"""The operators as PyTorch sees them, on a CPU, and where they fit."""

import runpy
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from covlayers import functional as F
from covlayers.functional._base.linalg import symmetric
from covlayers.functional._iterations import (
    approximants,
    conditions,
    newton_schulz,
    root_gradient,
    roots,
    sign,
    smith,
)
from covlayers.functional._iterations.conditions import fits
from covlayers.functional.methods._minimax import minimax_quintics
from tests.operator_calls import OPERATORS, arguments
from tests.properties import relative_error, spd, with_spectrum

EPS = torch.finfo(torch.float32).eps
MINIMAX = [x for quintic in minimax_quintics((16 * EPS) ** 0.5, EPS) for x in quintic]
each_operator = pytest.mark.parametrize("name", OPERATORS)


@pytest.fixture
def _everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every device counts as a GPU with Triton."""
    monkeypatch.setattr(conditions, "_capable", lambda device: True)
    yield
    torch._dynamo.reset()


@each_operator
@pytest.mark.parametrize("batch", [(), (0,), (3,), (2, 2)])
def test_opcheck(name: str, batch: tuple[int, ...]) -> None:
    A = spd(*batch).float()
    torch.library.opcheck(OPERATORS[name], arguments(name, A))
    torch.library.opcheck(OPERATORS[name], arguments(name, A.mT))


@each_operator
def test_is_the_twin_on_a_cpu(name: str) -> None:
    A, *rest = arguments(name, spd(3).float())
    expected: Tensor | list[Tensor]
    if name == "roots":
        last = roots.plain(A, [(1.875, -1.25, 0.375)] * 3, tight=True)
        expected = [last.root, last.inverse_root]
    elif name == "root_gradient":
        gY, gZ = (symmetric(one) for one in rest[1:3])
        bound = root_gradient.bound_of_root(A)
        expected = symmetric(smith.plain(A, gY - A @ gZ @ A, bound, 0.01, 5))
    elif name == "approximants":
        expected = approximants.plain(A, *rest)
    elif name == "newton_schulz":
        *found, s = newton_schulz.plain(A, *rest)
        expected = [*(symmetric(one) for one in found), s]
    elif name == "newton_schulz_gradient":
        expected = newton_schulz.plain_gradient(A, *rest)
    elif name == "symmetric_part":
        expected = A
    else:
        expected = {"smith": smith, "sign": sign}[name].plain(A, *rest)
    assert_close(OPERATORS[name](A, *rest), expected, rtol=0, atol=0)


@each_operator
@pytest.mark.parametrize("in_dim", [0, 2])
def test_vmap(name: str, in_dim: int) -> None:
    A = spd(3, 2).float()
    expected = OPERATORS[name](*arguments(name, A))
    batched = torch.func.vmap(lambda A: OPERATORS[name](*arguments(name, A)), in_dims=in_dim)
    assert_close(batched(A.movedim(0, in_dim)), expected)
    assert_close(
        torch.func.vmap(torch.func.vmap(lambda A: OPERATORS[name](*arguments(name, A))))(A),
        expected,
    )


def test_vmap_over_the_right_hand_side_alone() -> None:
    A, Q = spd().float(), torch.randn(3, 5, 5)
    scale = torch.linalg.matrix_norm(A, keepdim=True)
    solve = OPERATORS["smith"]
    X = torch.func.vmap(lambda Q: solve(A, Q, scale, 0.01, 5))(Q)
    assert_close(X, solve(A.expand(3, 5, 5), Q, scale, 0.01, 5))


@each_operator
def test_compiles_whole(name: str) -> None:
    A = spd(3).float()
    function = lambda A: OPERATORS[name](*arguments(name, A))
    assert_close(torch.compile(function, fullgraph=True, backend="aot_eager")(A), function(A))


def test_a_slightly_indefinite_matrix_is_mended_alone() -> None:
    A = spd(4).float()
    A[1] = with_spectrum(torch.tensor([3.0, 2, 1, 0.1, -1e-3]))
    A[2, 0, 0] = -1.0
    call = A, MINIMAX, True, True, True, True
    run = OPERATORS["roots"]
    torch.library.opcheck(run, (A[:2], *call[1:]))  # it takes no NaN for another
    Y, Z = run(*call)
    assert relative_error(Y[1], F.sqrtm(A[1], method="eigh")) < EPS**0.5
    assert Z[1].isfinite().all()
    assert Y[2].isnan().all()
    assert_close([Y[::3], Z[::3]], run(A[::3], *call[1:]), rtol=0, atol=0)
    function = torch.compile(lambda A: run(A, *call[1:]), fullgraph=True, backend="aot_eager")
    assert_close(function(A), [Y, Z], equal_nan=True)
    assert_close(torch.func.vmap(lambda A: run(A, *call[1:]))(A), [Y, Z], equal_nan=True)


def test_fits_no_cpu() -> None:
    assert not fits(spd().float())


@pytest.mark.usefixtures("_everywhere")
def test_fits() -> None:
    A = torch.eye(5)
    assert fits(A)
    assert fits(A, A.expand(3, 5, 5))
    assert fits(torch.eye(2))
    assert fits(torch.eye(64))
    assert not fits(torch.eye(1))
    assert not fits(torch.eye(65))
    assert fits(torch.eye(65), largest=512)
    assert not fits(torch.eye(513), largest=512)
    assert not fits(A, A.double())
    assert not fits(A, A.clone().requires_grad_())
    with torch.no_grad():
        assert fits(A.clone().requires_grad_())


@pytest.mark.usefixtures("_everywhere")
def test_fits_no_derivative_through_the_steps() -> None:
    seen = []

    def function(A: Tensor) -> Tensor:
        seen.append(fits(A))
        return A.sum()

    A = torch.eye(5)
    torch.func.grad(function)(A)
    torch.func.jvp(function, (A,), (A,))
    torch.func.vmap(torch.func.jacfwd(function))(A.expand(2, 5, 5))
    assert seen == [False] * 3
    torch.func.vmap(function)(A.expand(2, 5, 5))
    assert seen[-1]


@pytest.mark.usefixtures("_everywhere")
def test_fits_is_known_to_a_compiled_graph() -> None:
    function = torch.compile(lambda A: A + fits(A), fullgraph=True, backend="eager")
    A = torch.zeros(5, 5)
    assert function(A).all()
    assert function(A.clone().requires_grad_()).sum() == 0
    assert function(A.double()).sum() == 0


@pytest.mark.usefixtures("_everywhere")
def test_fits_no_exported_graph() -> None:
    class Module(torch.nn.Module):
        def forward(self, A: Tensor) -> Tensor:
            return A + fits(A)

    assert (
        torch.export.export(Module(), (torch.zeros(5, 5),)).module()(torch.zeros(5, 5)).sum() == 0
    )


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    fresh = runpy.run_path(conditions.__file__)
    assert not fresh["_capable"](torch.device("cuda"))  # the GPU itself is not asked
    assert not fresh["fits"](torch.eye(5))


def test_triton_is_imported_late() -> None:
    program = "import sys, covlayers.functional._iterations; assert 'triton' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
