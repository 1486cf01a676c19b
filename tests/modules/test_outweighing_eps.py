"""A word, once, where ``eps`` stands in for variances that the data do not have."""

import warnings
from functools import partial

import pytest
import torch
from torch import Tensor, nn

import covlayers as cl

KINDS = ("ZCAWhitening", "PCAWhitening", "CholeskyWhitening")
POOLS = ("CovPool", "MPNCovPool", "MPACovPool")
NORMS = (
    *("DecorrelatedBatchNorm", "IterNorm", "SwitchableWhitening"),
    partial(cl.PCANorm, num_components=4),
    partial(cl.GroupWhitening, num_groups=2),
    partial(cl.DecorrelatedBatchNorm, track_running_stats=False),
)


def said(call, *arguments: object) -> list[str]:
    """What a call warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*arguments)
    return [str(one.message) for one in caught]


def rows(*, rank: int = 8) -> Tensor:
    """Many samples of eight correlated features, of this rank."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(500, rank, generator=generator)
    return x @ torch.randn(rank, 8, generator=generator)


@pytest.mark.parametrize("kind", KINDS)
def test_dependent_features_are_told_once(kind: str) -> None:
    build = getattr(cl, kind)
    for x in (rows(rank=6), torch.cat([rows(), torch.ones(500, 1)], 1)):
        layer = build()
        (message,) = said(layer.fit, x)
        assert "depend linearly" in message
        assert "n_components" in message
        assert said(layer.fit, x) == []
        assert said(build(shrinkage=0.1).fit, x) == []
        assert said(build(eps=1.0).fit, x) == []  # no accident
    assert said(build().fit, rows()) == []
    assert said(cl.PCAWhitening(n_components=6).fit, rows(rank=6)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_eps_outweighs_are_told(kind: str) -> None:
    build = getattr(cl, kind)
    (message,) = said(build().fit, rows() * 1e-5)
    assert "eps=1e-05 for features of mean variance" in message
    assert "Scale the data" in message
    assert said(build(eps=1e-15).fit, rows() * 1e-5) == []


@pytest.mark.parametrize("kind", [*POOLS, *NORMS])
def test_features_that_eps_outweighs_are_told_once(kind: str | partial[nn.Module]) -> None:
    build = getattr(cl, kind) if isinstance(kind, str) else kind
    name = kind if isinstance(kind, str) else kind.func.__name__
    volts = 1e-5 * torch.randn(4, 22, 100)
    pool = build(22, eps=1e-5)
    assert said(pool.eval(), volts) == []
    (message,) = said(pool.train(), volts)
    assert f"{name} has eps=1e-05 for features of mean variance 1.0e-10" in message
    assert "smaller eps" in message
    assert said(pool, volts) == []
    for quiet in (build(22, eps=1e-15), build(22, eps=0.0)):
        assert said(quiet, volts) == []
    assert said(build(22, eps=1e-5), volts * 1e5) == []
    assert said(build(22, eps=1e-5), volts * 0) == []


@pytest.mark.parametrize("name", ["CovPool", "DecorrelatedBatchNorm"])
def test_a_compiled_graph_looks_at_nothing(name: str) -> None:
    torch._dynamo.reset()
    pool, volts = getattr(cl, name)(22, eps=1e-5), 1e-5 * torch.randn(4, 22, 100)
    compiled = torch.compile(pool, fullgraph=True, backend="aot_eager")
    assert said(compiled, volts) == []
    assert len(said(pool, volts)) == 1
    with torch.compiler.set_stance("fail_on_recompile"):
        assert said(compiled, volts) == []
