"""Covariance pooling: its meaning, its presets, its shapes."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from covlayers import CovPool, ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool
from covlayers import functional as F
from covlayers.modules.pooling.power_norm import SVPowerNorm
from tests.built import POOLS, features

CELLS = {
    MPNCovPool: (F.Eigh(), F.ExactGaps()),
    ISQRTCovPool: (F.NewtonSchulz(5), F.Autograd()),
    MTPCovPool: (F.Taylor(10), F.Lyapunov(8)),
    MPACovPool: (F.Pade(5), F.Lyapunov(8)),
}
per_module = pytest.mark.parametrize("name", POOLS)


@pytest.mark.parametrize("pool", CELLS)
def test_a_preset_is_its_papers_cell(pool: type[CovPool]) -> None:
    module = pool()
    assert (module.method, module.backward) == CELLS[pool]
    assert pool.forward is CovPool.forward
    x = features()
    expected = F.triu_vector(F.sqrtm(F.covariance(x.flatten(2), eps=1e-5), method=module.method))
    assert_close(module(x), expected)


def test_options_of_the_presets_reach_the_cell() -> None:
    assert ISQRTCovPool(iterations=3).method == F.NewtonSchulz(3)
    assert MTPCovPool(degree=7, iterations=9).method == F.Taylor(7)
    assert MPACovPool(degree=7, iterations=9).backward == F.Lyapunov(9)


@pytest.mark.parametrize("pool", CELLS)
def test_a_preset_takes_the_mean(pool: type[CovPool]) -> None:
    module = pool(6, mean_weight=0.5)
    assert module(features()).shape == (16, module.out_features)
    assert module.out_features == 28


@pytest.mark.parametrize("vectorize", ["triu", "isometric", "full"])
def test_the_vector_is_the_root_of_the_covariance(vectorize: str) -> None:
    x = features().double()
    pool = CovPool(6, vectorize=vectorize, eps=0.1, shrinkage=0.2)
    v = pool(x)
    assert v.shape == (16, pool.out_features)
    if vectorize == "full":
        Y = v.unflatten(1, (6, 6))
    else:
        Y = F.triu_matrix(v, 6, isometric=vectorize == "isometric")
    A = torch.stack([torch.cov(one.flatten(1), correction=0) for one in x])
    mean = A.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    assert_close(Y @ Y, 0.8 * A + (0.2 * mean + 0.1) * torch.eye(6).double())


@per_module
def test_shapes_and_out_features(name: str) -> None:
    pool = POOLS[name]()
    flat = pool.eval()(features())
    assert flat.shape == (16, pool.out_features)
    assert pool(torch.randn(2, 6, 9)).shape == (2, pool.out_features)
    assert pool(torch.randn(2, 6, 2, 3, 4)).shape == (2, pool.out_features)
    assert pool(torch.randn(0, 6, 5, 4)).shape == (0, pool.out_features)
    x = features()
    assert_close(pool(x.flatten(2)), pool(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in POOLS if isinstance(POOLS[name](), CovPool)])
def test_the_repr_shows_the_cell(name: str) -> None:
    pool = POOLS[name]()
    assert f"method={pool.method}" in repr(pool)
    assert f"backward={pool.backward}" in repr(pool)


def test_flat_features_train() -> None:
    pool = CovPool()
    x = torch.zeros(2, 4, 3, 3, requires_grad=True)
    pool(x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_in_a_backbone() -> None:
    pool = MPACovPool(16, 8)
    model = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), pool, nn.Linear(pool.out_features, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(8, 3, 10, 10), torch.arange(8) % 5
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def by_eigh(A: Tensor, f) -> Tensor:
    values, vectors = torch.linalg.eigh(A)
    return (vectors * f(values).unsqueeze(-2)) @ vectors.mT


FUNCTIONS = {
    "sqrt": torch.sqrt,
    "log": torch.log,
    0.5: torch.sqrt,
    0.3: lambda values: values**0.3,
    1: lambda values: values,
    -1.0: torch.reciprocal,
}


@pytest.mark.parametrize("mean_weight", [None, 0.7])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_of_the_covariance_and_the_mean(
    function: str | float, mean_weight: float | None
) -> None:
    x = features().double()
    pool = CovPool(6, vectorize="full", eps=0.1, function=function, mean_weight=mean_weight)
    rows = []
    for one in x.flatten(2):
        A = torch.cov(one, correction=0) + 0.1 * torch.eye(6).double()
        if mean_weight is not None:
            mean = mean_weight * one.mean(1, keepdim=True)
            lower = torch.cat([mean.T, torch.ones(1, 1).double()], 1)
            A = torch.cat([torch.cat([A + mean @ mean.T, mean], 1), lower])
        rows.append(by_eigh(A, FUNCTIONS[function]).flatten())
    assert_close(pool(x), torch.stack(rows))
    assert pool.out_features == len(rows[0])


def test_isometric_logarithms_are_log_euclidean() -> None:
    x, y = features(seed=1).double(), features(seed=2).double()
    pool = CovPool(function="log", vectorize="isometric", eps=0.0)
    logs = [by_eigh(F.covariance(z.flatten(2)), torch.log) for z in (x, y)]
    distance = torch.linalg.matrix_norm(logs[0] - logs[1])
    assert_close(torch.linalg.vector_norm(pool(x) - pool(y), dim=1), distance)


@pytest.mark.parametrize("options", [{}, {"mean_weight": 2.0}])
def test_a_module_as_function(options: dict) -> None:
    norm = SVPowerNorm(6 + len(options), learnable=True)
    pool = CovPool(6, function=norm, vectorize="full", **options)
    assert set(pool.state_dict()) == {"function.alpha", "function.start"}
    x = features()
    A = F.covariance(x.flatten(2), eps=1e-5)
    if options:
        mean = 2 * x.flatten(2).mean(-1)
        A = A + mean[:, :, None] * mean[:, None, :]
        column = mean[..., None]
        last = torch.cat([column.mT, torch.ones(16, 1, 1)], -1)
        A = torch.cat([torch.cat([A, column], -1), last], -2)
    assert_close(pool(x), norm(A).flatten(1))
    pool(x).square().sum().backward()
    assert norm.alpha.grad is not None


def test_the_repr_shows_the_function() -> None:
    pool = CovPool(6, function=0.3, mean_weight=2.0)
    assert "function=Power(exponent=0.3), mean_weight=2.0" in repr(pool)
    assert "function=Sequential, " in repr(CovPool(6, function=nn.Sequential(nn.Identity())))


@pytest.mark.parametrize("options", [{"function": "log"}, {"function": 0.3}, {"mean_weight": 0.5}])
def test_half_features_in_a_function(options: dict) -> None:
    pool, x = CovPool(6, **options), features().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = pool(x)
    assert torch.equal(y, pool(x.float()).bfloat16())


@pytest.mark.parametrize(
    "options",
    [{"function": "log"}, {"function": 0.3}, {"mean_weight": 0.5}, {"function": SVPowerNorm()}],
)
def test_functions_in_transforms_and_compiled_graphs(options: dict) -> None:
    torch._dynamo.reset()
    pool, x = CovPool(6, **options), features()
    expected = pool(x)
    assert_close(torch.func.vmap(lambda x: pool(x[None])[0])(x), expected, rtol=1e-5, atol=1e-5)
    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)


@per_module
def test_the_order_of_positions_does_not_matter(name: str) -> None:
    pool = POOLS[name]().double().eval()
    x = features(3).double().flatten(2)
    assert_close(pool(x[..., torch.randperm(20)]), pool(x))


@pytest.mark.parametrize("preset", CELLS)
def test_reductions_of_the_authors_load_key_by_key(preset: type[CovPool]) -> None:
    theirs = nn.Sequential(nn.Conv2d(8, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    theirs(torch.randn(5, 8, 6, 6))  # moves the running averages
    pool = preset(8, 4)
    values = theirs.state_dict().values()
    pool.load_state_dict(dict(zip(pool.state_dict(), values, strict=True)))
    x = torch.randn(2, 8, 6, 6)
    assert_close(pool.eval()(x), preset(4).eval()(theirs.eval()(x)))
