"""The kernels on an accelerator against the same operators on the CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from covlayers import functional as F
from covlayers.functional._iterations.conditions import fits
from covlayers.functional.methods._minimax import minimax_quintics
from tests.properties import (
    exact,
    exact_gradient,
    relative_error,
    spd,
    weights_like,
    with_spectrum,
)

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
    pytest.skip("no accelerator that the kernels serve", allow_module_level=True)

EPS = torch.finfo(torch.float32).eps
MINIMAX = [x for quintic in minimax_quintics((16 * EPS) ** 0.5, EPS) for x in quintic]
OPERATORS: dict[str, Callable[..., Any]] = {
    name: getattr(torch.ops.covlayers, name).default
    for name in ("symmetric_part", "roots", "root_gradient", "smith", "sign")
}
each_operator = pytest.mark.parametrize("name", OPERATORS)


def arguments(name: str, A: Tensor) -> tuple[Any, ...]:
    bound = torch.linalg.matrix_norm(A @ A, keepdim=True).sqrt()
    return {
        "symmetric_part": (A,),
        "roots": (A, MINIMAX, True, True, True),
        "root_gradient": (A, A, weights_like(A), weights_like(A), 1e-3, 7),
        "smith": (A, weights_like(A), bound, 1e-3, 7),
        "sign": (A, weights_like(A), bound, 8),
    }[name]


# Three times the largest error of the twins in float32 over four draws: 4.0e-6 of the roots, 6.2e-6
# of Smith, 1.5e-6 of the sign.
@each_operator
@pytest.mark.parametrize("n", [2, 5, 16, 17, 32, 33, 64])
def test_errors_of_rounding_alone(name: str, n: int) -> None:
    A = spd(70, n=n).float()
    results = OPERATORS[name](
        *(x.cuda() if isinstance(x, Tensor) else x for x in arguments(name, A))
    )
    wide = OPERATORS[name](*arguments(name, A.double()))
    many = isinstance(wide, list)
    for result, expected in zip(*(x if many else (x,) for x in (results, wide)), strict=True):
        assert relative_error(result.cpu(), expected) < 2e-5


def test_fits() -> None:
    assert fits(torch.eye(2, device="cuda"))
    assert not fits(torch.eye(65, device="cuda"))


def test_newton_schulz() -> None:
    A = spd(7, n=33).float()
    coefficients = [1.5, -0.5, 0.0] * 5
    for result, twin in zip(
        OPERATORS["roots"](A.cuda(), coefficients, False, True, True),
        OPERATORS["roots"](A.cpu(), coefficients, False, True, True),
        strict=True,
    ):
        assert relative_error(result.cpu(), twin) < 1e-5


@pytest.mark.parametrize("n", [64, 65, 128, 200, 512])
@pytest.mark.parametrize("condition", [1e2, 1e4])
def test_root_is_the_root(condition: float, n: int) -> None:
    A = spd(9, n=n, condition=condition).float()
    Y, Z = OPERATORS["roots"](A.cuda(), MINIMAX, True, True, True)
    assert relative_error(Y.cpu(), exact("sqrtm", A)) < 1e-4
    assert relative_error(Z.cpu(), exact("invsqrtm", A)) < 1e-3


@pytest.mark.parametrize("n", [5, 16, 33, 64, 65, 128, 200, 512])
def test_gradient_is_the_gradient(n: int) -> None:
    A = spd(9, n=n).float()
    g = weights_like(A)
    Y, Z = OPERATORS["roots"](A.cuda(), MINIMAX, True, True, True)
    of_root, of_inverse = (exact_gradient(name, A, g) for name in ("sqrtm", "invsqrtm"))
    for gY, gZ, expected in (
        (g, None, of_root),
        (None, g, of_inverse),
        (g, g, of_root + of_inverse),
    ):
        gY, gZ = (None if one is None else one.cuda() for one in (gY, gZ))
        X = OPERATORS["root_gradient"](Y, Z, gY, gZ, (8 * EPS) ** 0.5, 7)
        assert relative_error(X.cpu(), expected) < 1e-4
        assert torch.equal(X, X.mT)


def test_teams_give_the_same_bits_twice() -> None:
    A = spd(40, n=200, condition=1e3).float().cuda()
    first, *others = (F.sqrtm(A) for _ in range(20))
    assert all(torch.equal(first, one) for one in others)


@pytest.mark.parametrize("n", [1, 16, 64, 300])
def test_symmetric_part_and_nan_alone(n: int) -> None:
    A = spd(3, n=n).float().cuda()
    A[1, 0, n - 1] = torch.inf
    S = OPERATORS["symmetric_part"](A)
    assert torch.isnan(S[1]).all()
    assert torch.equal(S[::2], A[::2])


def test_nan_is_alone_and_zero_is_finite() -> None:
    A = spd(5).float().cuda()
    A[1] = 0
    A[2] = torch.diag(torch.tensor([-0.5, 1, 1, 1, 1]))
    A[3, 0, 0] = torch.nan
    for result, twin in zip(
        OPERATORS["roots"](A, MINIMAX, True, True, True),
        OPERATORS["roots"](A.cpu(), MINIMAX, True, True, True),
        strict=True,
    ):
        assert torch.isnan(result[2:4]).all()
        assert_close(result[[0, 1, 4]].cpu(), twin[[0, 1, 4]], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("n", [2, 5, 16, 33, 64, 128, 200])
def test_a_slightly_indefinite_matrix_has_roots(n: int, compiled: bool) -> None:
    """As :class:`Eigh` finds them on a CPU, and its neighbours are as if it were not there."""
    values = torch.linspace(1, 0.1, n).double().repeat(4, 1)
    values[:, -1] = -torch.tensor([1e-6, 1e-4, 5e-3, 5e-2])
    A = 3 * torch.cat([spd(1, n=n), *(with_spectrum(one, 1) for one in values), spd(1, n=n)])
    A = A.float().cuda().requires_grad_()
    if compiled and n > 5:
        pytest.skip("the operators are the same")
    run = torch.compile(F.sqrtm_and_invsqrtm, fullgraph=True) if compiled else F.sqrtm_and_invsqrtm
    Y, Z = run(A)
    (g,) = torch.autograd.grad((Y[:4] + Z[:4]).sum(), A)
    assert g[:4].isfinite().all()
    assert Z[:4].isfinite().all()
    assert Y[4].isnan().all()
    assert Z[4].isnan().all()
    expected = F.sqrtm(A.detach().cpu()[:4], method="eigh")
    assert relative_error(Y.detach()[:4].cpu(), expected) < EPS**0.5
    for found, alone in zip((Y, Z), F.sqrtm_and_invsqrtm(A[::5]), strict=True):
        assert torch.equal(found[::5], alone)


@each_operator
@pytest.mark.parametrize("batch", [(), (0,), (2, 2)])
def test_opcheck(name: str, batch: tuple[int, ...]) -> None:
    torch.library.opcheck(OPERATORS[name], arguments(name, spd(*batch).float().cuda().mT))


def test_compiles_whole() -> None:
    def function(A: Tensor) -> Tensor:
        return OPERATORS["roots"](A, MINIMAX, True, True, False)[0] if fits(A) else A

    A = spd(3).float().cuda()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(A)
    assert_close(compiled, OPERATORS["roots"](A, MINIMAX, True, True, False)[0])


@each_operator
def test_is_captured_in_a_graph(name: str) -> None:
    args = arguments(name, spd(8).float().cuda())
    OPERATORS[name](*args)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = OPERATORS[name](*args)
    args[0].copy_(args[0].flip(0) / 2)
    graph.replay()
    assert_close(results, OPERATORS[name](*args))
