"""Which operations the published cells dispatch on a GPU, counted on tensors without values."""

from typing import Any

import pytest
import torch
from torch import Tensor

import covlayers as cl
from benchmarks.operations import operations
from covlayers import functional as F
from tests.kernels.test_operations import (
    ROOTS,
    _on_a_gpu,  # noqa: F401  # a fixture
    all_of,
    counted,
    each_root,
    matrices,
)

FORWARD = {"covlayers::symmetric_part": 1, "covlayers::newton_schulz": 1}
BACKWARD = {"covlayers::newton_schulz_gradient": 1}


def published(name: str, A: Tensor, backward: str | None = None) -> tuple[Tensor, ...]:
    return all_of(ROOTS[name](A, method="newton_schulz", backward=backward))


@each_root
@pytest.mark.parametrize("n", [2, 16, 33, 64])
def test_a_root_and_the_derivative_of_its_steps_are_three(name: str, n: int) -> None:
    A = matrices(n).requires_grad_()
    result, forward = counted(lambda: published(name, A))
    above = [torch.empty_like(Y) for Y in result]
    _, backward = counted(lambda: torch.autograd.grad(result, A, above))
    assert (forward, backward) == (FORWARD, BACKWARD)
    with torch.no_grad():
        assert counted(lambda: published(name, A))[1] == FORWARD


@each_root
@pytest.mark.parametrize("method", ["taylor", "pade"])
def test_a_polynomial_or_a_rational_root(name: str, method: str) -> None:
    with torch.no_grad():
        _, seen = counted(lambda: ROOTS[name](matrices(64), method=method))
    assert seen == {"covlayers::symmetric_part": 1, "covlayers::approximants": 1}
    A = matrices(64).requires_grad_()
    result, forward = counted(lambda: all_of(ROOTS[name](A, method=method)))
    assert forward["covlayers::approximants"] == 1
    assert forward.total() == 15  # the norm of A is kept for the rule
    if name == "sqrtm":
        above = torch.empty_like(A)
        _, backward = counted(lambda: torch.autograd.grad(result, A, above))
        assert backward["covlayers::sign"] == 1
        assert backward.total() == 6
    through_steps = lambda: ROOTS[name](A, method=method, backward="autograd")
    assert "covlayers::approximants" not in counted(through_steps)[1]


def test_iterative_normalisation() -> None:
    """Beside the five operations of the whitening and its four backward, of which two are these."""
    layer = cl.IterNorm(64).to("meta")
    x = torch.empty(8, 64, 32, 32, device="meta").requires_grad_()
    layer(x)
    y, forward = counted(lambda: layer(x))
    above = torch.empty_like(y)
    _, backward = counted(lambda: torch.autograd.grad(y, [x, *layer.parameters()], above))
    assert forward["covlayers::newton_schulz"] == backward["covlayers::newton_schulz_gradient"] == 1
    assert (forward.total(), backward.total()) == (5, 4)


@pytest.mark.parametrize(
    ("layer", "expected"), [(cl.ISQRTCovPool, (4, 3)), (cl.MPACovPool, (17, 8))]
)
def test_a_head_of_few_channels(layer: Any, expected: tuple[int, int]) -> None:
    x = torch.empty(4, 64, 14, 14, device="meta").requires_grad_()
    assert operations(layer(64).to("meta"), [x]) == expected


@pytest.mark.parametrize("n", [5, 64, 65, 513])
@pytest.mark.parametrize("backward", ["autograd", "lyapunov"])
@pytest.mark.parametrize("method", ["newton_schulz", "taylor", "pade"])
def test_select_tells_what_runs(n: int, backward: str, method: str) -> None:
    for A in (matrices(n), matrices(n).requires_grad_(), matrices(n).double()):
        told = F.select(A, method=method, backward=backward).implementation
        _, seen = counted(lambda A=A: F.sqrtm(A, method=method, backward=backward))
        kernels = {f"covlayers::{x}" for x in ("newton_schulz", "roots", "approximants")}
        assert bool(kernels & {*seen}) == ("kernel" in told)


@each_root
def test_transforms_take_the_plain_lines(name: str) -> None:
    A = matrices(5)
    assert counted(lambda: torch.func.vmap(lambda A: published(name, A))(A))[1] == FORWARD
    total = lambda A: sum(Y.sum() for Y in published(name, A))
    for run in (
        lambda: torch.func.grad(total)(A),
        lambda: torch.func.jvp(total, (A,), (A,)),
        lambda: torch.func.vmap(torch.func.hessian(lambda A: total(A[None])))(A),
    ):
        assert not any("newton_schulz" in key for key in counted(run)[1])


@each_root
def test_a_second_derivative(name: str) -> None:
    A = matrices(5).requires_grad_()
    (g,) = torch.autograd.grad(published(name, A)[0].sum(), A, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), A)
    assert gg.shape == A.shape


@each_root
def test_one_gradient_alone(name: str) -> None:
    A = matrices(5).requires_grad_()
    for Y in published(name, A):
        _, backward = counted(
            lambda Y=Y: torch.autograd.grad(Y, A, torch.empty_like(Y), retain_graph=True)
        )
        assert backward == BACKWARD


@each_root
@pytest.mark.parametrize("tracked", [False, True])
def test_a_compiled_graph(name: str, tracked: bool) -> None:
    """With a derivative it has the plain lines, which its compiler differentiates."""
    kernels: set[str] = set()

    def seen(graph: torch.fx.GraphModule, _: Any) -> Any:
        kernels.update(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    A = matrices(5).requires_grad_(tracked)
    torch.compile(lambda A: published(name, A), fullgraph=True, backend=seen)(A)
    assert ("covlayers.newton_schulz.default" in kernels) == (not tracked)


def test_an_exported_graph_has_no_kernel() -> None:
    class Module(torch.nn.Module):
        def forward(self, A: Tensor) -> Any:
            return published("sqrtm", A)

    graph = torch.export.export(Module(), (matrices(5),)).graph
    assert not any("covlayers" in str(node.target) for node in graph.nodes)
