"""The embedding of a Gaussian as a matrix."""

import pytest
import torch
from torch.testing import assert_close

from covlayers import functional as F
from covlayers.functional.gaussian import gaussian_embedding


@pytest.mark.parametrize("shape", [(), (2,), (0,), (2, 3)])
@pytest.mark.parametrize("weight", [0.3, 1, 2.5])
def test_blocks(weight: float, shape: tuple[int, ...]) -> None:
    x = torch.randn(*shape, 4, 9, dtype=torch.float64) + 1
    A = gaussian_embedding(x, mean_weight=weight, eps=0.1, shrinkage=0.2)
    mean = x.sum(-1, keepdim=True) / 9
    cov = F.covariance(x, eps=0.1, shrinkage=0.2)
    assert A.shape == (*shape, 5, 5)
    assert_close(A[..., :4, :4], cov + weight**2 * mean @ mean.mT)
    assert_close(A[..., :4, 4:], weight * mean)
    assert_close(A[..., 4, 4], torch.ones(shape).double())
    assert_close(A, A.mT)
    assert_close(torch.linalg.det(A), torch.linalg.det(cov))


def test_is_the_second_moment_of_the_features_and_one() -> None:
    x = torch.randn(2, 3, 9).double()
    joint = torch.cat([x, torch.ones(2, 1, 9).double()], 1)
    assert_close(gaussian_embedding(x), joint @ joint.mT / 9)


def test_derivatives() -> None:
    x = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    f = lambda x: gaussian_embedding(x, mean_weight=0.7, eps=0.1, shrinkage=0.2)
    assert torch.autograd.gradcheck(f, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(f, x)


def test_transforms_and_compiled_graphs() -> None:
    x = torch.randn(4, 3, 5)
    expected = gaussian_embedding(x)
    assert_close(torch.func.vmap(gaussian_embedding)(x), expected)
    compiled = torch.compile(gaussian_embedding, fullgraph=True, backend="aot_eager")
    assert_close(compiled(x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_features_compute_in_float32(dtype: torch.dtype) -> None:
    x = (torch.randn(2, 4, 300) + 1).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        A = gaussian_embedding(x)
    assert A.dtype == dtype
    assert_close(A, gaussian_embedding(x.float()).to(dtype), rtol=0, atol=0)
