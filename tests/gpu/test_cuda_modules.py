"""Every layer on an accelerator against the CPU: values, gradients, statistics, no waiting."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.built import MAPS, MODULES, NORMS, features, sample

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available():
    pytest.skip("no accelerator here", allow_module_level=True)


def passes(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = module(x)
    weights = torch.sin(torch.arange(y.numel(), dtype=y.dtype)).view(y.shape).to(x.device)
    return [y.detach(), *torch.autograd.grad(y, [x, *module.parameters()], weights)]


@pytest.mark.parametrize(
    ("name", "last"), [*((name, False) for name in MODULES), *((name, True) for name in MAPS)]
)
def test_equals_the_cpu(name: str, last: bool) -> None:
    module = MODULES[name](dtype=torch.float64)
    twin = copy.deepcopy(module).cuda()
    x = sample(name).double()
    x = x.to(memory_format=torch.channels_last) if last else x
    for mode in (True, False):
        module.train(mode)
        twin.train(mode)
        for a, b in zip(passes(twin, x.cuda()), passes(module, x), strict=True):
            assert_close(a.cpu(), b, rtol=1e-6, atol=1e-6)
    for key, value in module.state_dict().items():
        assert_close(twin.state_dict()[key].cpu(), value)


@pytest.mark.parametrize("name", ["IterNorm", "DecorrelatedBatchNorm smith"])
def test_a_forward_pass_by_products_waits_for_nothing(name: str) -> None:
    module, x = MODULES[name](device="cuda"), features().cuda()
    module(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        module(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["IterNorm", "CovPool"])
def test_features_that_eps_outweighs_are_told(name: str) -> None:
    module, x = MODULES[name](device="cuda"), 1e-8 * features().cuda()
    with pytest.warns(UserWarning, match="eps=.* for features of mean variance"):
        module(x)
    assert module._looked


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NORMS)
def test_under_autocast(name: str, dtype: torch.dtype) -> None:
    module, x = MODULES[name](device="cuda"), features().cuda()
    with torch.autocast("cuda", dtype=dtype):
        y = copy.deepcopy(module)(x.to(dtype))
    assert y.dtype == dtype
    assert_close(y.float(), module(x.to(dtype).float()), rtol=0.02, atol=0.02)
