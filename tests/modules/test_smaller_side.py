"""Poolings of few positions return on either side what they return on the other."""

import copy
import pickle
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from benchmarks.memory import saved_bytes
from covlayers import (
    AttentiveTemporalCovPool,
    CovPool,
    ISQRTCovPool,
    MPACovPool,
    MPNCovPool,
    MTPCovPool,
    SecondOrderHead,
    SVPowerNorm,
)
from covlayers.functional import Eigh, InvalidValueError, TaylorGaps, UnsupportedError
from covlayers.modules.pooling.covariance_pooling import VECTORIZATIONS

POOLS: dict[str, Callable[..., CovPool]] = {
    "CovPool": CovPool,
    "CovPool log": lambda *args, **options: CovPool(*args, function="log", **options),
    "CovPool power": lambda *args, **options: CovPool(*args, function=0.3, **options),
    "CovPool inverse": lambda *args, **options: CovPool(*args, function=-0.5, **options),
    "ISQRTCovPool": ISQRTCovPool,
    "MPACovPool": MPACovPool,
    "MPNCovPool": MPNCovPool,
    "MTPCovPool": MTPCovPool,
}
each_pool = pytest.mark.parametrize("name", POOLS)


def value_and_gradient(pool: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = pool(x)
    above = torch.sin(torch.arange(y.numel(), dtype=y.dtype)).view_as(y)
    return y.detach(), torch.autograd.grad(y, x, above)[0]


@each_pool
@pytest.mark.parametrize("vectorize", VECTORIZATIONS)
@pytest.mark.parametrize("shape", [(12, 2), (12, 3, 3), (6, 2, 2, 3)])
def test_both_sides_agree(name: str, vectorize: str, shape: tuple[int, ...]) -> None:
    x = torch.randn(3, *shape, dtype=torch.float64)
    for shrinkage, eps in product((None, 0.2), (1e-2, 1.0)):
        options = {"vectorize": vectorize, "shrinkage": shrinkage, "eps": eps}
        full, small = (
            value_and_gradient(POOLS[name](shape[0], side=side, **options), x)
            for side in ("channels", "positions")
        )
        torch.testing.assert_close(small[0], full[0], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(small[1], full[1], rtol=1e-10, atol=1e-10)


@each_pool
def test_half_and_autocast_and_empty(name: str) -> None:
    pool, x = POOLS[name](16, side="positions"), torch.randn(2, 16, 5)
    assert torch.equal(pool(x.bfloat16()), pool(x.bfloat16().float()).bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(pool(x), POOLS[name](16, side="positions")(x))
    empty = x[:0].requires_grad_()
    y = pool(empty)
    assert y.shape == (0, pool.out_features)
    assert torch.autograd.grad(y.sum(), empty)[0].shape == empty.shape


@each_pool
def test_whole_graph(name: str, whole_graph: Callable[[nn.Module], nn.Module]) -> None:
    pool, x = POOLS[name](16, side="positions"), torch.randn(3, 16, 5)
    expected = value_and_gradient(pool, x)
    found = value_and_gradient(whole_graph(pool), x)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_copies_and_pickles() -> None:
    pool, x = MPACovPool(16, side="positions"), torch.randn(2, 16, 5)
    for other in (copy.deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert torch.equal(other(x), pool(x))
    assert "side='positions'" in repr(pool)
    assert not pool.state_dict()


@each_pool
@pytest.mark.parametrize("vectorize", VECTORIZATIONS)
def test_only_the_input_and_matrices_of_positions_are_kept(name: str, vectorize: str) -> None:
    x = torch.randn(2, 256, 7, 7, requires_grad=True)
    N, M, bytes_each = 2, 49, 4
    few = N * (M * M + (M + 1) ** 2 + 4 * (M + 1)) * bytes_each
    held = saved_bytes(POOLS[name](256, vectorize=vectorize), x)
    assert held <= x.untyped_storage().nbytes() + few + 64
    assert held <= 1.6 * x.untyped_storage().nbytes()


@each_pool
@pytest.mark.parametrize("side", ["channels", "positions"])
def test_options_that_are_set_later_are_obeyed(name: str, side: str) -> None:
    x = torch.randn(2, 8, 5, dtype=torch.float64)
    pool = POOLS[name](8, side=side)
    before = value_and_gradient(pool, x)[1]
    pool.method, pool.backward = Eigh(), TaylorGaps(2)
    cell = {"method": pool.method, "backward": pool.backward}
    fresh = CovPool(8, function=pool.function, side=side, **cell)
    for option in ("eps", "vectorize"):
        setattr(fresh, option, getattr(pool, option))
    after, expected = (value_and_gradient(one, x)[1] for one in (pool, fresh))
    assert torch.equal(after, expected)
    assert not torch.equal(after, before)


def test_heads_take_the_smaller_side_by_themselves() -> None:
    heads: list[tuple[Callable[[str], nn.Module], Tensor]] = [
        (lambda side: SecondOrderHead(128, 3, side=side), torch.randn(2, 1 + 16, 128)),
        (
            lambda side: AttentiveTemporalCovPool(
                128, 2, reduced_channels=128, attention_channels=128, level="frame", side=side
            ),
            torch.randn(2, 2, 128, 3, 3),
        ),
        (
            lambda side: AttentiveTemporalCovPool(
                128, 2, reduced_channels=128, attention_channels=128, side=side
            ),
            torch.randn(2, 2, 128, 3, 3),
        ),
    ]
    for build, x in heads:
        outputs = []
        for side in ("auto", "positions", "channels"):
            torch.manual_seed(0)
            outputs.append(build(side).eval()(x))
        assert torch.equal(outputs[0], outputs[1])
        assert not torch.equal(outputs[0], outputs[2])
        torch.testing.assert_close(outputs[0], outputs[2], rtol=1e-2, atol=1e-2)


def test_where_the_positions_have_no_meaning() -> None:
    with pytest.raises(InvalidValueError, match="side"):
        CovPool(side="rows")
    with pytest.raises(UnsupportedError, match="got mean_weight"):
        CovPool(side="positions", mean_weight=1.0)
    with pytest.raises(UnsupportedError, match="got a module"):
        CovPool(side="positions", function=SVPowerNorm())
    with pytest.raises(UnsupportedError, match="no formula for PolarExpress"):
        CovPool(side="positions", method="polar_express")
    x = torch.randn(2, 128, 9)
    pool = CovPool(128)
    pool.mean_weight = 0.5  # which takes the channels from now on
    assert torch.equal(pool(x), CovPool(128, mean_weight=0.5)(x))
    pool = CovPool(128)
    pool.side = "channels"
    assert torch.equal(pool(x), CovPool(128, side="channels")(x))
    pool.function = CovPool(function="log").function
    assert torch.equal(pool(x), CovPool(128, function="log", side="channels")(x))
    pool.side = "positions"
    assert torch.equal(pool(x), CovPool(128, function="log", side="positions")(x))
    pool.function, pool.method = CovPool().function, ISQRTCovPool().method
    assert torch.equal(pool(x), ISQRTCovPool(128, side="positions")(x))
    pool.side = "rows"
    with pytest.raises(InvalidValueError, match="side"):
        pool(x)
    pool.side = "positions"
    pool.mean_weight = 1.0
    with pytest.raises(UnsupportedError, match="got mean_weight"):
        pool(x)


def test_a_layer_stored_by_an_older_version_is_loaded() -> None:
    pool, x = CovPool(128), torch.randn(2, 128, 9)
    expected = pool(x)
    for name in ("_asked", "_cell", "side"):
        del pool.__dict__[name]
    assert torch.equal(pickle.loads(pickle.dumps(pool))(x), expected)


@each_pool
def test_any_size_of_the_batch_is_exported(name: str) -> None:
    pool, x = POOLS[name](64).eval(), torch.randn(3, 64, 2, 2)
    program = torch.export.export(pool, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    other = torch.randn(5, 64, 2, 2)
    torch.testing.assert_close(program.module()(other), pool(other), rtol=1e-3, atol=1e-3)
