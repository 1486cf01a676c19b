"""The precision of statistics, and of the matrices that are made of them once."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

import covlayers as cl
from covlayers import functional as F
from covlayers.modules._statistic_buffers import StatisticBuffers
from tests.built import MODULES, sample, trained
from tests.properties import rotation

HALVES = (torch.float16, torch.bfloat16)
WITH_STATISTICS = [
    name
    for name in MODULES
    if any(
        isinstance(part, StatisticBuffers) and part._buffers for part in MODULES[name]().modules()
    )
]
KINDS = ("zca", "pca", "cholesky", "zca_cor", "pca_cor")
DATA_WHITENINGS = (cl.ZCAWhitening, cl.PCAWhitening, cl.CholeskyWhitening)
NORMS = {kind: {"kind": kind} for kind in ("zca", "pca", "cholesky", "zca_cor", "pca_cor")}


def own_floats(module: nn.Module) -> list[Tensor]:
    parts = [part for part in module.modules() if isinstance(part, StatisticBuffers)]
    return [b for part in parts for b in part.buffers(recurse=False) if b.is_floating_point()]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", WITH_STATISTICS)
def test_casts_leave_statistics_alone(name: str, dtype: torch.dtype) -> None:
    module = trained(name).eval()
    x = sample(name)
    expected = module(x)
    before = [b.clone() for b in own_floats(module)]
    cast = deepcopy(module).to(dtype)
    assert all(torch.equal(a, b) for a, b in zip(before, own_floats(cast), strict=True))
    y = cast(x.to(dtype)).float()
    tolerance = 16 * torch.finfo(dtype).eps * expected.abs().max().item()
    assert (y - expected).abs().max() < tolerance
    assert all(p.dtype == dtype for p in cast.parameters())


@pytest.mark.parametrize("name", WITH_STATISTICS)
def test_half_checkpoints_are_raised(name: str) -> None:
    module = trained(name)
    state = {
        key: value.bfloat16() if value.is_floating_point() else value
        for key, value in module.state_dict().items()
    }
    for assign in (False, True):
        fresh = deepcopy(module)
        fresh.load_state_dict(state, assign=assign)
        assert all(b.dtype == torch.float32 for b in own_floats(fresh))


def test_built_in_half() -> None:
    for layer in (
        cl.DecorrelatedBatchNorm(4, dtype=torch.bfloat16),
        cl.ZCAWhitening(4, dtype=torch.half),
    ):
        assert all(b.dtype == torch.float32 for b in own_floats(layer))
        assert all(p.dtype == torch.bfloat16 for p in layer.parameters())
    assert cl.DecorrelatedBatchNorm(4).double().running_cov.dtype == torch.float64


SCALES = torch.tensor([2e4, 10.0, 0.05], dtype=torch.float64)


def graded(n: int = 4000) -> Tensor:
    """Correlated features whose deviations are 2e4, 10 and 0.05."""
    z = torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mixed = z @ torch.tensor([[1, 0, 0], [0.5, 0.8, 0], [-0.3, 0.4, 0.8]], dtype=z.dtype).mT
    x = mixed * SCALES
    return x - x.mean(0)


@pytest.mark.parametrize("whitening", DATA_WHITENINGS)
def test_features_on_a_smaller_scale_are_kept(whitening: type[cl.ZCAWhitening]) -> None:
    x = graded()
    layer = whitening(3, eps=0.0).fit(x.float())
    y = layer(x.float())
    assert_close(F.covariance(y.double().mT), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-4)
    assert_close(layer.inverse(y).double() / SCALES, x / SCALES, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_keeps_features_on_a_smaller_scale(kind: str) -> None:
    x = graded()
    norm = cl.DecorrelatedBatchNorm(3, eps=0.0, momentum=None, kind=kind)
    norm.reset_running_stats()
    with torch.no_grad():
        norm.running_cov.copy_(F.covariance(x.mT.float(), eps=0.0)[None])
        norm.running_mean.zero_()
    y = norm.eval()(x.float())
    assert_close(F.covariance(y.double().mT), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-4)


@pytest.mark.parametrize("whitening", DATA_WHITENINGS)
def test_rounding_is_not_taken_for_a_feature(whitening: type[cl.ZCAWhitening]) -> None:
    """A constant, a dead and a dependent feature, without eps: the noise floor of float32."""
    x = torch.randn(500, 6, generator=torch.Generator().manual_seed(0))
    x[:, 2], x[:, 4], x[:, 5] = 0.1, 0.0, x[:, 0] + x[:, 1]
    layer = whitening(6, eps=0.0).fit(x)
    W = layer.matrices()[0]
    assert torch.linalg.matrix_norm(W, 2) < 10 * torch.finfo(torch.float32).eps ** -0.5
    y = layer(x)
    assert y.isfinite().all()
    assert y.std(0).max() < 1.01


@pytest.mark.parametrize("whitening", DATA_WHITENINGS)
def test_statistics_take_the_dtype_of_the_data(whitening: type[cl.ZCAWhitening]) -> None:
    values = torch.logspace(0, -8, 8, dtype=torch.float64)
    z = torch.randn(4000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = z @ (rotation(n=8) * values.sqrt()).mT
    for build in (whitening(eps=0.0), whitening(8, eps=0.0)):
        layer = build.fit(x)
        assert {b.dtype for b in own_floats(layer)} == {torch.float64}
        white = F.covariance(layer(x).mT)
        assert_close(white, torch.eye(8, dtype=torch.float64), rtol=0, atol=1e-6)
        # as a checkpoint too, in the order of torch: built first, loaded then
        copy = whitening(8, eps=0.0)
        copy.load_state_dict(layer.state_dict())
        assert torch.equal(copy(x), layer(x))
    in_batches = whitening(eps=0.0)
    for batch in x.split(1000):
        in_batches.partial_fit(batch)
    assert_close(in_batches(x), layer(x), rtol=0, atol=1e-6)
    assert whitening(dtype=torch.float32).fit(x).covariance.dtype == torch.float32
    assert whitening().fit(x.bfloat16()).covariance.dtype == torch.float32


@pytest.mark.parametrize("kind", ["zca_cor", "pca_cor"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_small_variance_is_no_constant(kind: str, dtype: torch.dtype) -> None:
    variances = torch.tensor([1.0, 1e-8, 1e-14, 0.0], dtype=dtype)
    cov = variances.diag().requires_grad_()
    W = F.whitening_matrix(cov, kind=kind)
    white = (W @ cov @ W.mT).diagonal().sort().values
    assert_close(white, torch.tensor([0.0, 1, 1, 1], dtype=dtype))
    assert torch.autograd.grad(W.sum(), cov)[0].isfinite().all()


def test_pca_norm_of_a_small_channel() -> None:
    x = torch.randn(64, 3, 8, 8) * torch.tensor([1, 1e-4, 10]).view(3, 1, 1)
    deviations = cl.PCANorm(3, 3, eps=0.0)(x).std((0, 2, 3), correction=0)
    assert_close(deviations, torch.ones(3), rtol=0, atol=1e-3)


@pytest.mark.parametrize("whitening", DATA_WHITENINGS)
def test_squares_out_of_range_are_refused(whitening: type[cl.ZCAWhitening]) -> None:
    x = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    layer = whitening(4, eps=0.0).fit(x)
    before = layer.covariance.clone()
    for scale in (1e-20, 1e-25, 1e25):
        with pytest.raises(F.InvalidValueError, match="range of torch"):
            layer.fit(x * scale)
    assert torch.equal(layer.covariance, before)
    y = whitening(4, eps=0.0).fit(x.double() * 1e-20)(x.double() * 1e-20)
    assert_close(y.std(0, correction=0), torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-3)
    assert whitening(4).fit(torch.zeros(5, 4)).covariance.eq(0).all()  # no variation, none lost


@pytest.mark.parametrize("scale", [1e-12, 1e-17, 1e-19])
@pytest.mark.parametrize("kind", KINDS)
def test_norms_of_small_features(kind: str, scale: float) -> None:
    x = scale * torch.randn(64, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    y = cl.DecorrelatedBatchNorm(4, eps=0.0, kind=kind)(x)
    assert_close(y.std((0, 2, 3), correction=0), torch.ones(4), rtol=0, atol=1e-2)
