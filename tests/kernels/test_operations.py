"""Which operations a root and its gradient dispatch on a GPU, counted on tensors without values."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func

from benchmarks.operations import Operations, as_on_a_gpu
from covlayers import functional as F

ROOTS: dict[str, Callable[..., Any]] = {
    "sqrtm": F.sqrtm,
    "invsqrtm": F.invsqrtm,
    "sqrtm_and_invsqrtm": F.sqrtm_and_invsqrtm,
}
FORWARD = {"covlayers::symmetric_part": 1, "covlayers::roots": 2}  # all steps, mended
BACKWARD = {"covlayers::root_gradient": 1}
each_root = pytest.mark.parametrize("name", ROOTS)


@pytest.fixture(autouse=True)
def _on_a_gpu() -> Iterator[None]:
    with as_on_a_gpu():
        yield
    torch._dynamo.reset()


def matrices(n: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(8, n, n, device="meta", dtype=dtype)


def counted(run: Callable[[], Any]) -> tuple[Any, Counter[str]]:
    with Operations() as seen:
        result = run()
    return result, seen.counts


def all_of(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else result


@each_root
@pytest.mark.parametrize("n", [2, 16, 17, 33, 64])
def test_a_root_and_its_gradient_are_four(name: str, n: int) -> None:
    A = matrices(n).requires_grad_()
    result, forward = counted(lambda: ROOTS[name](A))
    above = [torch.empty_like(A) for _ in all_of(result)]
    _, backward = counted(lambda: torch.autograd.grad(all_of(result), A, above))
    assert (forward, backward) == (FORWARD, BACKWARD)
    with torch.no_grad():
        assert counted(lambda: ROOTS[name](A))[1] == FORWARD


@each_root
@pytest.mark.parametrize("backward", [None, "lyapunov"], ids=["smith", "lyapunov"])
def test_one_node_of_the_graph_unless_the_rule_reads_the_matrices(
    name: str, backward: str | None
) -> None:
    A = matrices(5).requires_grad_()
    y: Any = all_of(ROOTS[name](A, backward=backward))[0]
    before = y.grad_fn.next_functions[0][0]
    assert (type(before).__name__ == "AccumulateGrad") == (backward is None)


@each_root
@pytest.mark.parametrize("n", [65, 128, 129, 200, 512])
def test_a_larger_root_takes_two_more_for_the_zeros_of_its_teams(name: str, n: int) -> None:
    A = matrices(n).requires_grad_()
    result, forward = counted(lambda: ROOTS[name](A))
    above = [torch.empty_like(A) for _ in all_of(result)]
    _, backward = counted(lambda: torch.autograd.grad(all_of(result), A, above))
    assert forward == {**FORWARD, "covlayers::roots": FORWARD["covlayers::roots"] + 1}
    assert backward == {"covlayers::root_gradient": 2}


def test_no_kernel_serves_the_largest() -> None:
    _, seen = counted(lambda: F.sqrtm(matrices(513)))
    assert "covlayers::roots" not in seen


@each_root
def test_no_root_more_than_wanted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from covlayers.functional._iterations import roots

    wanted = []
    run = roots._operator

    def seen(A: Tensor, coefficients: Any, tight: bool, *which: bool) -> Any:
        wanted.append(which[:2])
        return run(A, coefficients, tight, *which)

    monkeypatch.setattr(roots, "_operator", seen)
    A = matrices(5)
    ROOTS[name](A)
    ROOTS[name](A.requires_grad_())
    assert (
        wanted
        == {
            "sqrtm": [(True, False), (True, False)],
            "invsqrtm": [(False, True), (True, True)],
            "sqrtm_and_invsqrtm": [(True, True), (True, True)],
        }[name]
    )


def test_only_what_is_computed_to_the_end_is_mended() -> None:
    for iterations, launches in ((None, 2), (5, 1)):
        method = F.PolarExpress(iterations=iterations)
        _, seen = counted(lambda method=method: F.sqrtm(matrices(5), method=method))
        assert seen["covlayers::roots"] == launches
    _, seen = counted(lambda: F.sqrtm(matrices(5), method="newton_schulz"))
    assert seen["covlayers::newton_schulz"] == 1


@pytest.mark.parametrize("backward", [None, "loewner", "autograd"])
def test_select_tells_what_runs(backward: str | None) -> None:
    for A in (
        matrices(5),
        matrices(5).requires_grad_(),
        matrices(65),
        matrices(200),
        matrices(513),
    ):
        told = F.select(A, backward=backward).implementation
        _, seen = counted(lambda A=A: F.sqrtm(A, backward=backward))
        assert ("covlayers::roots" in seen) == ("kernel" in told)


@each_root
def test_one_gradient_alone(name: str) -> None:
    A = matrices(5).requires_grad_()
    for Y in all_of(ROOTS[name](A)):
        expand = Y.sum()  # whose gradient has strides of zero
        _, backward = counted(
            lambda expand=expand: torch.autograd.grad(expand, A, retain_graph=True)
        )
        assert backward == {**BACKWARD, "aten::ones_like": 1}


@each_root
@pytest.mark.parametrize("n", [5, 100, 200])
def test_a_compiled_graph_has_the_same_kernels(name: str, n: int) -> None:
    kernels: list[set[str]] = []

    def seen(graph: torch.fx.GraphModule, _: Any) -> Any:
        targets = {str(node.target) for node in graph.graph.nodes}
        kernels.append({target for target in targets if target.startswith("covlayers")})
        return make_boxed_func(graph.forward)

    A = matrices(n).requires_grad_()
    function = torch.compile(ROOTS[name], fullgraph=True, backend=aot_autograd(fw_compiler=seen))
    Y = all_of(function(A))
    torch.autograd.grad(Y, A, [torch.empty_like(A) for _ in Y])
    assert kernels == [
        {"covlayers.symmetric_part.default", "covlayers.roots.default"},
        {"covlayers.root_gradient.default"},
    ]


@each_root
def test_transforms(name: str) -> None:
    A = matrices(5)
    assert counted(lambda: torch.func.vmap(ROOTS[name])(A))[1] == FORWARD
    total = lambda A: sum(Y.sum() for Y in all_of(ROOTS[name](A)))
    _, seen = counted(lambda: torch.func.grad(total)(A))
    assert {"covlayers::roots", "covlayers::smith"} <= {*seen}  # may be differentiated again
    _, seen = counted(lambda: torch.func.jvp(total, (A,), (A,)))
    assert not any(key.startswith("covlayers") for key in seen)


@each_root
@pytest.mark.parametrize("n", [100, 200])
def test_transforms_of_larger_matrices(name: str, n: int) -> None:
    A = matrices(n)
    assert {*counted(lambda: torch.func.vmap(ROOTS[name])(A))[1]} == {*FORWARD}
    total = lambda A: sum(Y.sum() for Y in all_of(ROOTS[name](A)))
    _, seen = counted(lambda: torch.func.grad(total)(A))
    assert "covlayers::roots" in seen
    assert not {"covlayers::smith", "covlayers::root_gradient"} & {*seen}
    _, seen = counted(lambda: torch.func.jvp(total, (A,), (A,)))
    assert not any(key.startswith("covlayers") for key in seen)


def test_a_second_derivative_takes_the_lines_that_have_one() -> None:
    A = matrices(5).requires_grad_()
    (g,) = torch.autograd.grad(F.sqrtm(A).sum(), A, create_graph=True)
    (gg,) = torch.autograd.grad(g.sum(), A)
    assert gg.shape == A.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_is_raised_and_lowered(dtype: torch.dtype) -> None:
    _, seen = counted(lambda: F.sqrtm(matrices(5, dtype)))
    assert seen == {**FORWARD, "aten::_to_copy": 2}


def test_float64_takes_the_plain_lines() -> None:
    _, seen = counted(lambda: F.sqrtm(matrices(5, torch.float64)))
    assert not any(key.startswith("covlayers") for key in seen)


@each_root
def test_an_exported_graph_has_no_kernel(name: str) -> None:
    class Module(torch.nn.Module):
        def forward(self, A: Tensor) -> Any:
            return ROOTS[name](A)

    graph = torch.export.export(Module(), (matrices(5),)).graph
    assert not any("covlayers" in str(node.target) for node in graph.nodes)
