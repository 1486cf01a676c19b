"""The matrix of evaluation follows its averages on an accelerator, and the host does not wait."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.testing import assert_close

import covlayers as cl
from tests.built import BATCH_NORMS, features, trained

pytestmark = pytest.mark.gpu
if not torch.cuda.is_available():
    pytest.skip("no accelerator here", allow_module_level=True)

NAMES = sorted(BATCH_NORMS.keys() - {"SwitchableWhitening"})
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture
def changed() -> Callable[[str], tuple[nn.Module, nn.Module]]:
    """A layer whose averages changed without a word, and one on a CPU that never had others."""

    def build(name: str) -> tuple[nn.Module, nn.Module]:
        layer = trained(name).cuda().eval()
        layer(features().cuda())
        layer.running_cov.data.mul_(4)
        fresh = BATCH_NORMS[name]()
        fresh.load_state_dict(layer.state_dict())
        return layer, fresh.eval()

    return build


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", NAMES)
def test_a_change_that_no_counter_counts(name: str, changed: Callable[..., tuple]) -> None:
    layer, fresh = changed(name)
    x = features()
    assert_close(layer(x.cuda()).cpu(), fresh(x), **TOLERANCE)
    layer.eval()
    assert_close(layer(x.cuda()).cpu(), fresh(x), **TOLERANCE)


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("name", ["DecorrelatedBatchNorm zca", "IterNorm"])
def test_the_host_does_not_wait(name: str, changed: Callable[..., tuple]) -> None:
    layer, fresh = changed(name)
    x = features()
    on_gpu = x.cuda()
    with torch.no_grad():
        layer(on_gpu)
        torch.cuda.set_sync_debug_mode("error")
        y = layer(on_gpu)
        torch.cuda.set_sync_debug_mode("default")
    assert_close(y.cpu(), fresh(x), **TOLERANCE)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("name", ["DecorrelatedBatchNorm zca", "PCANorm"])
def test_compiled(name: str, mode: str, changed: Callable[..., tuple]) -> None:
    layer = trained(name).cuda().eval()
    compiled = torch.compile(layer, mode=mode)
    x = features()
    with torch.no_grad():
        for _ in range(3):
            assert_close(compiled(x.cuda()), layer(x.cuda()), **TOLERANCE)
            layer.running_cov.data.mul_(2)
        twin = copy.deepcopy(layer)
        twin.eval()
        assert_close(compiled(x.cuda()), twin(x.cuda()), **TOLERANCE)


def test_data() -> None:
    data = features(90)[..., 0, 0]
    layer = cl.ZCAWhitening().fit(data.cuda())
    layer(data.cuda())
    layer.covariance.data.mul_(4)
    fresh = cl.ZCAWhitening()
    fresh.load_state_dict(layer.state_dict())
    assert_close(layer(data.cuda()).cpu(), fresh(data), **TOLERANCE)
