"""The operators of a batch as PyTorch sees them, which of them run, and how many."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import covlayers as cl
from benchmarks.operations import Operations, as_on_a_gpu
from covlayers.functional._base import tuning
from covlayers.functional._batch import collective, normalise
from covlayers.functional._batch.averages import plain
from covlayers.functional._batch.kernels import Kernels
from covlayers.functional._batch.normalise import Way, batch_transform
from covlayers.functional._iterations.conditions import fits_features, fits_in_place
from covlayers.functional.rule import Applied, Vjp

C, G = 6, 2
FORWARD = ["batch_statistics", "affine"]
BACKWARD = ["batch_gradient_sums", "features_gradient"]
MOVE = ["move_averages"]
OPERATORS = {name: getattr(torch.ops.covlayers, name) for name in FORWARD + BACKWARD + MOVE}
each_operator = pytest.mark.parametrize("name", OPERATORS)
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "DecorrelatedBatchNorm": lambda: cl.DecorrelatedBatchNorm(C, G),
    "without scale": lambda: cl.DecorrelatedBatchNorm(C, affine=False, momentum=None),
    "shrunk": lambda: cl.DecorrelatedBatchNorm(C, G, shrinkage=0.2),
    "cholesky": lambda: cl.DecorrelatedBatchNorm(C, kind="cholesky"),
    "IterNorm": lambda: cl.IterNorm(C),
    "PCANorm": lambda: cl.PCANorm(C, 3),
    "GroupWhitening": lambda: cl.GroupWhitening(C, num_groups=3),
}


def features(last: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(5, C, 4, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    return x.contiguous(memory_format=torch.channels_last) if last else x


def arguments(name: str, x: Tensor, scaled: bool = True) -> tuple[Any, ...]:
    W = torch.randn(G, C // G, C // G)
    v = torch.randn(C)
    weight = v if scaled else None
    if name == "batch_statistics":
        return x, G, 1e-3, 0.1 if scaled else None
    if name == "affine":
        return x, W, v, weight, weight
    if name == "batch_gradient_sums":
        return x.sin(), x, v, W, weight, scaled
    if name == "features_gradient":
        return x.sin(), x, W, weight, v, v.sin(), W.cos(), 0.1
    return v.cos(), W.cos(), torch.tensor(3), v, W @ W.mT, 7, 0.1 if scaled else None


@pytest.fixture
def by_kernels(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on every batch goes through the operators, on a CPU through their plain lines."""

    def force() -> None:
        forced = lambda x, num_groups, join=True, steps=False: Kernels(num_groups)
        monkeypatch.setattr(normalise, "_passes", forced)

    return force


@pytest.fixture
def _everywhere() -> Iterator[None]:
    with as_on_a_gpu():
        yield
    torch._dynamo.reset()


@each_operator
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_opcheck(name: str, last: bool, scaled: bool) -> None:
    torch.library.opcheck(OPERATORS[name].default, arguments(name, features(last), scaled))


@pytest.mark.parametrize("name", FORWARD + BACKWARD)
def test_compiles_whole(name: str) -> None:
    args = arguments(name, features())
    function = lambda *args: OPERATORS[name](*args)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    assert_close(compiled(*args), function(*args))
    torch._dynamo.reset()


def passes(layer: nn.Module, x: Tensor) -> list[Tensor]:
    """Output, gradients, averages and the output in evaluation."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = layer(x)
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)
    found = [y, *torch.autograd.grad(y, [x, *layer.parameters()], weights)]
    with torch.no_grad():
        return [*found, *layer.state_dict().values(), layer.eval()(x)]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_equal_the_products(name: str, last: bool, by_kernels: Callable[[], None]) -> None:
    x = features(last, torch.float64)
    expected = passes(LAYERS[name]().double(), x)
    by_kernels()
    for found, one in zip(passes(LAYERS[name]().double(), x), expected, strict=True):
        assert_close(found, one, rtol=1e-9, atol=1e-12)
        assert found.stride() == one.stride()


def test_several_processes(monkeypatch: pytest.MonkeyPatch, by_kernels: Callable[[], None]) -> None:
    """As if another process had the same batch."""
    for module in (collective, normalise):
        monkeypatch.setattr(module, "all_sum", lambda x, group: x if group is None else 2 * x)
    results = []
    for force in (lambda: None, by_kernels):
        force()
        x = features(dtype=torch.float64).requires_grad_()
        weight = torch.arange(1.0, C + 1).double().requires_grad_()
        layer = cl.DecorrelatedBatchNorm(C, G, shrinkage=0.1)
        y, mean, cov, count = batch_transform(x, weight, weight, layer._way, G, "all")
        gradients = torch.autograd.grad(y, [x, weight], y.detach().cos())
        results.append([y, mean, cov, count, *gradients])
    for products, kernels in zip(*results, strict=True):
        assert_close(kernels, products, rtol=1e-9, atol=1e-12)


def seen(layer: nn.Module, shape: tuple[int, ...]) -> tuple[Counter[str], Counter[str]]:
    """Operations of the second forward and backward pass, as on a GPU."""
    layer, x = layer.to("meta"), torch.empty(shape, device="meta", requires_grad=True)
    layer(x)
    with Operations() as forward:
        y = layer(x)
    above = torch.ones_like(y)
    with Operations() as backward:
        torch.autograd.grad(y, [x, *layer.parameters()], above)
    return forward.counts, backward.counts


class Unchanged(Applied):
    """No function at all, of which a step of the layer is the rest."""

    def __init__(self) -> None:
        """It has no parts."""

    def with_vjp(self, A: Tensor) -> tuple[Tensor, Vjp]:
        return A, lambda grad: grad


def counted(names: list[str]) -> Counter[str]:
    launches = {"batch_statistics": 2, "batch_gradient_sums": 2}  # of parts, then of all
    return Counter({f"covlayers::{name}": launches.get(name, 1) for name in names})


@pytest.mark.usefixtures("_everywhere")
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("num_groups", [1, 4])
def test_a_step_is_seven_kernels(num_groups: int, momentum: float | None) -> None:
    """But for the matrix itself."""
    layer = cl.DecorrelatedBatchNorm(64, num_groups, momentum=momentum)
    layer.matrix_function = Unchanged()
    forward, backward = seen(layer, (8, 64, 32, 32))
    assert forward == counted(FORWARD + MOVE)
    assert backward == counted(BACKWARD)


@pytest.mark.usefixtures("_everywhere")
@pytest.mark.parametrize("name", LAYERS)
def test_which_operators_run(name: str) -> None:
    own = {f"covlayers::{name}" for name in OPERATORS}
    forward, backward = seen(LAYERS[name](), (5, C, 4, 3))
    moves = [] if name == "GroupWhitening" else MOVE
    assert Counter({one: forward[one] for one in own & {*forward}}) == counted(FORWARD + moves)
    assert Counter({one: backward[one] for one in own & {*backward}}) == counted(BACKWARD)


@pytest.mark.usefixtures("_everywhere")
def test_switchable_whitening_moves_its_averages_by_the_kernel() -> None:
    forward, _ = seen(cl.SwitchableWhitening(C, G), (5, C, 4, 3))
    assert forward["covlayers::move_averages"] == 1
    assert not {"aten::lerp", "aten::copy_"} & {*forward}


@pytest.mark.usefixtures("_everywhere")
def test_evaluation_is_one_kernel() -> None:
    x = torch.empty(8, 64, 4, 4, device="meta")
    mean, W = torch.empty(64, device="meta"), torch.empty(4, 16, 16, device="meta")
    with Operations() as operations:
        normalise.affine_transform(x, mean, mean, mean, W)
    assert operations.counts == counted(["affine"])
    with Operations() as operations:
        normalise.affine_transform(x.requires_grad_(), mean, mean, mean, W).sum().backward()
    assert "covlayers::affine" not in operations.counts


@pytest.mark.usefixtures("_everywhere")
def test_fits() -> None:
    x = torch.empty(3, 512, 2, 2, device="meta")
    assert fits_features(x, 2)
    assert fits_features(x.half(), 2)
    assert fits_features(x.bfloat16(), 512)
    assert tuning.LARGEST_GROUP == 256
    assert not fits_features(x, 1)
    assert not fits_features(x.double(), 2)
    assert not fits_features(x[:0], 2)
    assert fits_in_place(x)
    assert not fits_in_place(x, x.double())
    assert not fits_in_place(x.mT)


@pytest.mark.usefixtures("_everywhere")
def test_transforms_and_compiled_graphs_take_the_plain_lines() -> None:
    found = []

    def function(x: Tensor) -> Tensor:
        found.append(fits_features(x, 1) or fits_in_place(x))
        return x.sum()

    x = torch.zeros(3, 4, 5)
    torch.func.grad(function)(x)
    torch.func.vmap(function)(x[None])
    torch.func.jvp(function, (x,), (x,))
    compiled = torch.compile(lambda x: x + fits_features(x, 1), fullgraph=True, backend="eager")
    assert found == [False] * 3
    assert_close(compiled(x), x)


def test_the_second_derivative_is_that_of_the_products(by_kernels: Callable[[], None]) -> None:
    def second(x: Tensor) -> Tensor:
        layer = cl.DecorrelatedBatchNorm(C, G, method="newton_schulz", backward="autograd")
        way = Way(layer.matrix_function, 1e-3, None)
        y = batch_transform(x, None, None, way, G, None)[0]
        (first,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    x = features(dtype=torch.float64).requires_grad_()
    expected = second(x)
    by_kernels()
    assert_close(second(x), expected)


@pytest.mark.parametrize("bad", [False, True])
@pytest.mark.parametrize("momentum", [0.1, None])
def test_averages_are_the_twin_on_a_cpu(momentum: float | None, bad: bool) -> None:
    mean, cov = torch.randn(6), torch.eye(3).repeat(2, 1, 1)
    cov[1, 2, 2] = torch.nan if bad else 2
    runs = []
    for move in (OPERATORS["move_averages"], plain):
        averages = [torch.zeros(6), torch.ones(2, 3, 3), torch.tensor(4)]
        move(*averages, mean, cov, 5, momentum)
        runs.append(averages)
    assert_close(runs[0], runs[1])
    assert runs[0][2] == (4 if bad else 5)
    assert torch.equal(runs[0][0], torch.zeros(6)) == bad
