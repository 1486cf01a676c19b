"""What a pooling keeps for the backward pass, in matrices a sample beside its input."""

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from covlayers import CovPool, ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool

N, C, SIDE = 1, 128, 5
# In float32 published methods go through the spectrum on a CPU, in float64 through products.
MATRICES = {
    ("CovPool", torch.float32): 1,  # eigenvectors
    ("CovPool", torch.float64): 1,
    ("MPNCovPool", torch.float32): 1,
    ("MPNCovPool", torch.float64): 1,
    ("ISQRTCovPool", torch.float32): 2,  # the covariance too: products for a second derivative
    ("MTPCovPool", torch.float32): 1,
    ("MTPCovPool", torch.float64): 1,
    ("MPACovPool", torch.float32): 1,
    ("MPACovPool", torch.float64): 1,
}
POOLS = {
    pool.__name__: pool for pool in (CovPool, ISQRTCovPool, MPACovPool, MPNCovPool, MTPCovPool)
}


@pytest.mark.parametrize(("name", "dtype"), MATRICES)
def test_matrices_kept(name: str, dtype: torch.dtype) -> None:
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    x = torch.randn(N, C, SIDE, SIDE, dtype=dtype, requires_grad=True)
    with saved_tensors_hooks(keep, lambda x: x):
        y = POOLS[name](C)(x)
    assert y.requires_grad
    matrix = N * C * C * x.element_size()
    small = C * (C + 1) // 2 * 8 + 4 * N * C * 8  # the indices of the triangle, and vectors
    assert (
        sum(kept.values()) <= x.untyped_storage().nbytes() + MATRICES[name, dtype] * matrix + small
    )
