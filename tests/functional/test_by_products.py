"""A root of few positions by products, as a GPU computes it, here by the same operators on a CPU.

References are the side of the channels in float64, and decompositions.
"""

from collections.abc import Callable, Iterator
from itertools import product

import pytest
import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.operations import Operations, as_on_a_gpu
from covlayers import functional as F
from covlayers.functional._features import conditions
from covlayers.functional.by_positions import Wanted
from covlayers.functional.by_products import Products, by_products
from covlayers.functional.covariance_functions import cell_of_few_positions
from covlayers.functional.functions import LOG, SQRT
from covlayers.functional.triangle import triu_vector
from tests.properties import relative_error

CELLS: dict[str, tuple[F.Method, F.Backward | None]] = {
    "exact": (F.Auto(), None),
    "newton_schulz": (F.NewtonSchulz(), F.Autograd()),
    "newton_schulz 15": (F.NewtonSchulz(15), None),
    "pade": (F.Pade(), F.Lyapunov()),
    "taylor": (F.Taylor(), F.Lyapunov(5)),
}
each_cell = pytest.mark.parametrize("name", CELLS)


def features(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator) + 3


def wanted(name: str, center: bool = True, *layout: bool) -> tuple[Wanted, Products]:
    cell = cell_of_few_positions(SQRT, *CELLS[name], "auto")
    assert cell is not None
    assert cell.products is not None
    return Wanted(cell, center, *layout), cell.products


def on_chip(
    name: str, eps: float, center: bool = True, *layout: bool
) -> Callable[[Tensor], Tensor]:
    asked, products = wanted(name, center, *layout)
    options = products, eps, center, *(*layout, False, False)[:2]
    return lambda x: by_products(x, *options, lambda x: asked(x, 1.0, eps))


def value_and_gradient(run: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    Y = run(x)
    above = features(*Y.shape, seed=9).to(Y.dtype) - 3
    return Y.detach(), torch.autograd.grad(Y, x, above)[0]


def on_channels(name: str, x: Tensor, eps: float, center: bool = True) -> list[Tensor]:
    method, rule = CELLS[name]
    if isinstance(method, F.Auto):
        method, rule = F.Eigh(), F.Loewner()
    run = lambda x: F.covariance_function(
        x, eps=eps, center=center, method=method, backward=rule, side="channels"
    )
    return [*value_and_gradient(run, x)]


@each_cell
@pytest.mark.parametrize("M", [2, 5, 11])
def test_agrees_with_the_channels(name: str, M: int) -> None:
    """In float64; the coefficients of the exact root are good to float32 alone."""
    for eps, center in product((1e-5, 1e-2, 10.0), (True, False)):
        x = features(2, 3, 16, M)
        expected = on_channels(name, x, eps, center)
        if name == "exact":
            x = x.float()
        found = value_and_gradient(on_chip(name, eps, center), x)
        bound = 1e-4 if name == "exact" else 1e-10
        if name == "exact" and not center and eps < 1e-2:
            continue  # features far from zero: float32 has no digits left on either side
        assert relative_error(found[0], expected[0]) < bound, (eps, center)
        assert relative_error(found[1], expected[1]) < bound, (eps, center)


@each_cell
@pytest.mark.parametrize("isometric", [False, True])
def test_the_triangle_is_the_one_of_the_matrix(name: str, isometric: bool) -> None:
    x = features(2, 12, 5).float()
    whole = lambda x: triu_vector(on_chip(name, 1e-2)(x), isometric=isometric)
    expected = value_and_gradient(whole, x)
    found = value_and_gradient(on_chip(name, 1e-2, True, True, isometric), x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def damaged(x: Tensor, kind: str) -> Tensor:
    if kind == "constant channels":
        x[:, ::3] = 1.5
    return x


@pytest.mark.parametrize("kind", ["plain", "constant channels"])
@pytest.mark.parametrize("share", [1e-5, 1e-3])
def test_float32_keeps_its_digits(kind: str, share: float) -> None:
    """Measured 2e-6 in value and gradient; the channels give 4e-4 and 2e-2."""
    for M, scale in product((2, 5, 24), (1e-10, 1.0, 1e10)):
        x = scale * damaged(features(3, 64, M, seed=M).float(), kind)
        eps = share * float(x.double().var(-1, correction=0).mean())
        expected = on_channels("exact", x.double(), eps)
        found = value_and_gradient(on_chip("exact", eps), x)
        assert relative_error(found[0], expected[0]) < 1e-5, (M, scale)
        assert relative_error(found[1], expected[1]) < 1e-5, (M, scale)


@each_cell
def test_nan_is_alone_and_no_features_are_finite(name: str) -> None:
    x = features(3, 12, 5).float()
    x[0] = 1.5
    x[1, 3, 2] = torch.nan
    Y, g = value_and_gradient(on_chip(name, 0.1), x)
    assert Y[1].isnan().any()
    assert (g[0] == 0).all()
    alone = value_and_gradient(on_chip(name, 0.1), x[0::2])
    assert torch.allclose(Y[0::2], alone[0])
    expected = on_channels(name, x[:1].double(), 0.1)[0]
    assert relative_error(Y[:1], expected) < 1e-6


@each_cell
def test_second_derivatives_are_those_of_the_channels(name: str) -> None:
    x, run = features(1, 8, 3).requires_grad_(), on_chip(name, 0.1)
    (g,) = torch.autograd.grad(run(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(g.square().sum(), x)
    method, rule = CELLS[name]
    if isinstance(method, F.Auto):
        method, rule = F.Eigh(), F.Loewner()
    other = F.covariance_function(x, eps=0.1, method=method, backward=rule, side="channels")
    (g,) = torch.autograd.grad(other.sum(), x, create_graph=True)
    (expected,) = torch.autograd.grad(g.square().sum(), x)
    assert relative_error(second, expected) < 1e-6


@each_cell
def test_compiles_whole(name: str) -> None:
    x, run = features(2, 8, 3).float(), on_chip(name, 0.1, True, True)
    whole = torch.compile(run, fullgraph=True, backend="aot_eager")
    for one, other in zip(value_and_gradient(whole, x), value_and_gradient(run, x), strict=True):
        torch.testing.assert_close(one, other)
    torch._dynamo.reset()


@pytest.fixture
def _everywhere() -> Iterator[None]:
    with as_on_a_gpu():
        yield


POOLS: dict[str, tuple[Callable[..., nn.Module], str, str]] = {
    "CovPool": (cl.CovPool, "root_from_positions", "gradient_of_root"),
    "ISQRTCovPool": (
        cl.ISQRTCovPool,
        "newton_schulz_from_positions",
        "gradient_of_newton_schulz",
    ),
    "MPACovPool": (cl.MPACovPool, "pade_from_positions", "sign_from_positions"),
    "MTPCovPool": (cl.MTPCovPool, "taylor_from_positions", "sign_from_positions"),
}


def ran(pool: nn.Module, x: Tensor) -> tuple[list[str], list[str]]:
    """The operations of a training step, in order of their names."""
    x = x.to("meta").requires_grad_()
    pool = pool.to("meta").eval()
    with Operations() as forward:
        y = pool(x)
    above = torch.ones_like(y)
    with Operations() as backward:
        torch.autograd.grad(y, x, above)
    names = [
        sorted(name.removeprefix("covlayers::") for name in one.counts.elements())
        for one in (forward, backward)
    ]
    return names[0], names[1]


@pytest.mark.usefixtures("_everywhere")
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("vectorize", ["triu", "isometric", "full"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_step_is_two_launches_and_three(
    name: str, vectorize: str, memory_format: torch.memory_format
) -> None:
    build, forward, backward = POOLS[name]
    x = torch.randn(4, 256, 7, 7).to(memory_format=memory_format)
    assert ran(build(256, vectorize=vectorize), x) == (
        sorted([forward, "channels_from_positions"]),
        sorted(["gradient_times_features", backward, "gradient_from_positions"]),
    )


@pytest.mark.usefixtures("_everywhere")
def test_more_positions_take_one_launch_around_the_root() -> None:
    forward, backward = ran(cl.CovPool(256), torch.randn(4, 256, 14, 14))
    assert forward.count("covariance") == forward.count("triangle") == 1
    assert backward.count("covariance_gradient") == backward.count("triangle_gradient") == 1
    others = {"covariance", "triangle", "covariance_gradient", "triangle_gradient"}
    root = ran(Root(), torch.eye(256).expand(4, 256, 256))
    for step, alone in zip((forward, backward), root, strict=True):
        assert len([one for one in step if one not in others]) <= len(alone)


@pytest.mark.usefixtures("_everywhere")
def test_many_positions_leave_the_sum_to_a_product() -> None:
    assert "covariance" in ran(cl.CovPool(8), torch.randn(1, 8, 4096))[0]
    assert "covariance" not in ran(cl.CovPool(8), torch.randn(1, 8, 4097))[0]


class Root(nn.Module):
    def forward(self, A: Tensor) -> Tensor:
        return F.sqrtm(A)


@pytest.mark.usefixtures("_everywhere")
def test_what_takes_the_channels_or_the_spectrum() -> None:
    x = torch.empty(2, 128, 9, device="meta")
    taken = lambda **options: (
        "in Triton kernels" in F.select(x, of_covariance=True, **options).implementation
    )
    assert taken()
    assert "in Triton kernels" in F.select(x.half(), of_covariance=True).implementation
    assert taken(method="pade")
    assert taken(method="newton_schulz")
    for options in (
        {"function": "logm"},
        {"method": "eigh"},
        {"method": "polar_express"},
        {"backward": "loewner"},
        {"method": "pade", "backward": "autograd"},
        {"side": "channels"},
    ):
        assert not taken(**options), options
    for other in (x.double(), x[:, :24], x[:0], torch.empty(2, 128, 65, device="meta")):
        found = F.select(other, of_covariance=True).implementation
        assert "in Triton kernels" not in found, other.shape
    for options in ({"eps": 0.0}, {"shrinkage": 0.1, "eps": 1e-5}):
        pool = cl.CovPool(128, **options)  # type: ignore[arg-type]
        assert "root_from_positions" not in ran(pool, torch.randn(2, 128, 3, 3))[0]
    assert cell_of_few_positions(LOG, F.Auto(), None, "auto").products is None  # type: ignore[union-attr]


@pytest.mark.usefixtures("_everywhere")
def test_transforms_take_the_plain_lines() -> None:
    seen = []

    def function(x: Tensor) -> Tensor:
        seen.append(conditions.serves(x))
        return x.sum()

    x = torch.ones(2, 3, 4)
    torch.func.vmap(function)(x)
    torch.func.grad(function)(x)
    torch.func.jvp(function, (x,), (x,))
    assert seen == [False] * 3
    assert conditions.serves(x)
    assert not conditions.serves(x.double())
    assert not conditions.serves(x[:0])
