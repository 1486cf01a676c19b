"""Every cell on an accelerator against the CPU."""

from itertools import product

import pytest
import torch

import covlayers
from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from tests.cases import EXACT_METHODS, INFINITE_AT_TIES
from tests.properties import FUNCTIONS, relative_error, spd, value_and_gradient, with_spectrum

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available():
    pytest.skip("no accelerator here", allow_module_level=True)

CELLS = list(product(FUNCTIONS, METHODS, BACKWARDS))


@pytest.mark.parametrize(("name", "method", "backward"), CELLS)
def test_equals_the_cpu(name: str, method: str, backward: str) -> None:
    A = spd(3)
    if method == "auto":
        method = F.PolarExpress()  # what auto takes there
    expected_Y, expected_grad = value_and_gradient(name, A, method, backward)
    Y, grad = value_and_gradient(name, A.cuda(), method, backward)
    assert relative_error(Y.cpu(), expected_Y) < 1e-10
    assert relative_error(grad.cpu(), expected_grad) < 1e-8


@pytest.mark.parametrize(("name", "method", "backward"), CELLS)
def test_finite_at_degenerate_spectra(name: str, method: str, backward: str) -> None:
    if (method, backward) in INFINITE_AT_TIES:
        method = F.PolarExpress()
    for values in ([0.0] * 6, [0, 0, 0, 0, 0, 1], [1] * 6):
        A = with_spectrum(torch.tensor(values).double(), 2).float().cuda()
        for result in value_and_gradient(name, A, method, backward):
            assert torch.isfinite(result).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_damaged_or_asymmetric_matrix_is_nan_alone(method: str) -> None:
    A = spd(4).cuda()
    expected = F.sqrtm(A, method=method)
    A[1, 0, 0] = torch.nan
    A[2, 0, 1] += 1
    Y = F.sqrtm(A, method=method)
    assert torch.isnan(Y[1:3]).all()
    assert torch.allclose(Y[[0, 3]], expected[[0, 3]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_autocast(method: str, dtype: torch.dtype) -> None:
    A = spd(3, condition=5.0).float().cuda()
    with torch.autocast("cuda", dtype=dtype):
        Y = F.sqrtm(A, method=method)
    assert Y.dtype == torch.float32
    assert relative_error(Y.cpu(), F.sqrtm(A.cpu(), method=method)) < 1e-5


@pytest.mark.parametrize("method", [name for name in METHODS if name in EXACT_METHODS])
def test_pooling_trains(method: str) -> None:
    pool = covlayers.CovPool(32, 16, method=method, device="cuda")
    x = torch.randn(8, 32, 7, 7, device="cuda", requires_grad=True)
    pool(x).square().mean().backward()
    assert torch.isfinite(x.grad).all()


def test_products_are_captured_in_a_graph() -> None:
    A = spd(8).float().cuda()
    F.sqrtm(A, method="polar_express")
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        Y = F.sqrtm(A, method="polar_express")
    expected = F.sqrtm(4 * A, method="polar_express")
    A.mul_(4)
    graph.replay()
    assert torch.allclose(Y, expected, rtol=1e-4)
