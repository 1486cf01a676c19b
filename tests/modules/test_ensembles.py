"""Several models as one: their state stacked, and one call mapped over it."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.testing import assert_close

import covlayers as cl
from tests.built import NORMS, features, trained, unlike_at_first

DATA = ("ZCAWhitening", "PCAWhitening", "CholeskyWhitening")


def members(name: str) -> list[nn.Module]:
    """Three of a kind with statistics of their own, evaluated."""
    torch.manual_seed(0)
    if name in DATA:
        data = features(90)[..., 0, 0]
        return [getattr(cl, name)().fit((1 + k) * data + k).eval() for k in range(3)]
    return [unlike_at_first(trained(name)).eval() for _ in range(3)]


def ensemble(models: list[nn.Module], *, device: str, keys: set[str]) -> Callable[[Tensor], Tensor]:
    """One call for all of them, with these of their parameters and buffers."""
    base = copy.deepcopy(models[0]).to(device)
    states = [{k: v for k, v in part.items() if k in keys} for part in stack_module_state(models)]

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(base, (parameters, buffers), (x,))

    return lambda x: vmap(one, in_dims=(0, 0, None))(*states, x)


def held(model: nn.Module) -> set[str]:
    return {name for name, _ in (*model.named_parameters(), *model.named_buffers())}


@pytest.mark.parametrize("checkpoint", [False, True], ids=["all buffers", "of a checkpoint"])
@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("name", [*NORMS, *DATA])
def test_an_ensemble_is_a_loop_over_its_models(name: str, device: str, checkpoint: bool) -> None:
    models = members(name)
    keys = set(models[0].state_dict()) if checkpoint else held(models[0])
    x = features(90)[..., 0, 0] if name in DATA else features()
    expected = torch.stack([model(x) for model in models])
    mapped = ensemble(models, device=device, keys=keys)
    assert_close(mapped(x), expected, rtol=1e-5, atol=1e-5)
    assert_close(torch.stack([model(x) for model in models]), expected, rtol=0, atol=0)


@pytest.mark.skipif(torch.__version__ < "2.13", reason="a graph cannot end there, and raises")
@pytest.mark.parametrize("name", ["DecorrelatedBatchNorm zca", "ZCAWhitening"])
def test_a_compiled_ensemble(name: str) -> None:
    torch._dynamo.reset()
    models = members(name)
    x = features(90)[..., 0, 0] if name in DATA else features()
    expected = torch.stack([model(x) for model in models])
    mapped = ensemble(models, device="cpu", keys=set(models[0].state_dict()))
    compiled = torch.compile(mapped, backend="aot_eager")
    assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)


def test_a_compiled_graph_takes_the_averages_that_it_is_called_with() -> None:
    torch._dynamo.reset()
    first, second, _ = members("DecorrelatedBatchNorm zca")
    x = features()
    compiled = torch.compile(functional_call, backend="aot_eager")
    assert_close(compiled(first, second.state_dict(), (x,)), second(x), rtol=1e-5, atol=1e-5)


def test_no_tensor_of_a_transform_outlives_it() -> None:
    norm, data = trained("IterNorm").eval(), members("ZCAWhitening")[0]
    x = features()
    for layer, z in ((norm, x), (data, x[..., 0, 0])):
        expected = layer(z)
        layer._kept = None
        torch.func.grad(lambda z, layer=layer: layer(z).sum())(z)
        assert layer._kept is None
        assert_close(layer(z), expected, rtol=0, atol=0)
