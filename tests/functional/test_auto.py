"""What ``auto`` takes, and that it is as good on both sides of every line it draws."""

import pytest
import torch

from covlayers import functional as F
from covlayers.functional.functions import INVSQRT, LOG, ROOTS, SQRT
from tests.properties import FUNCTIONS, exact, exact_gradient, relative_error, spd, weights_like

CHOICES = [
    (SQRT, (64, 16), torch.float32, F.PolarExpress()),
    (INVSQRT, (32, 32), torch.float32, F.PolarExpress()),
    (SQRT, (63, 16), torch.float32, F.Eigh()),
    (SQRT, (99, 15), torch.float32, F.Eigh()),
    (SQRT, (99, 33), torch.float32, F.Eigh()),
    (INVSQRT, (99, 33), torch.float32, F.Eigh(refine=True)),
    (INVSQRT, (2, 16), torch.float32, F.Eigh(refine=True)),
    (SQRT, (99, 16), torch.float64, F.Eigh()),
    (INVSQRT, (99, 16), torch.float64, F.Eigh()),
    (LOG, (99, 16), torch.float32, F.Eigh()),
]


@pytest.mark.parametrize(("fn", "shape", "dtype", "expected"), CHOICES)
def test_choice(fn, shape: tuple[int, int], dtype: torch.dtype, expected: F.Method) -> None:
    batch, n = shape
    A = torch.empty(batch, n, n, dtype=dtype)
    assert F.Auto().select((fn,), A) == expected
    if fn is INVSQRT:
        assert F.Auto().select(ROOTS, A) == expected
        plain = expected if isinstance(expected, F.PolarExpress) else F.Eigh()
        assert F.Auto(refine=False).select((fn,), A) == plain
    if fn is not LOG:
        assert F.Auto().select((fn,), A.to("meta")) == F.PolarExpress()


# Measured: the inverse root 5e-5 and 2e-4, the root 6e-6 and 4e-4.
@pytest.mark.parametrize("shape", [(64, 16), (2, 16), (40, 32), (2, 32), (40, 33)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(name: str, shape: tuple[int, int]) -> None:
    A = spd(shape[0], n=shape[1], condition=1e4).float().requires_grad_()
    Y = FUNCTIONS[name](A)
    (grad,) = torch.autograd.grad(Y, A, weights_like(A))
    assert relative_error(Y.detach(), exact(name, A.detach())) < 2e-4
    assert relative_error(grad, exact_gradient(name, A.detach(), weights_like(A))) < 1e-3
