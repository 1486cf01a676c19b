"""Covariance pooling: its meaning, its presets, its shapes."""

import pytest
import torch
from built import POOLS, features
from torch import nn
from torch.testing import assert_close

from covlayers import CovPool, ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool
from covlayers import functional as F

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


@per_module
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
