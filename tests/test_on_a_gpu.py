"""What can be known of a GPU without one: nothing waits for a value, and what a graph captures."""

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks.zoo import Layer, inputs, zoo
from covlayers import functional as F
from covlayers.functional import BACKWARDS, METHODS
from tests.built import BATCH_NORMS, MODULES, NORMS, features, gradients, sample
from tests.capturable import DECOMPOSITIONS, dispatched
from tests.good_calls import GOOD, ROOTS
from tests.properties import spd

# Through an eigendecomposition, by the function that they compute or by their options.
SPECTRAL_FUNCTIONS = {"eigh", "logm", "powm", "spectral_projector"}
SPECTRAL_MODULES = {
    "DecorrelatedBatchNorm pca",
    "DecorrelatedBatchNorm pca_cor",
    "PCANorm",
    "PCANorm power iteration",
    "MPNCovPool",
    "CovPool log",
    "CovPool power",
    "CrossCovPool exact",
}
UNFITTED = [layer for layer in zoo() if not hasattr(layer.run, "fit")]


@pytest.mark.parametrize("name", MODULES)
def test_a_layer_waits_for_nothing(name: str) -> None:
    operations = dispatched(MODULES[name](), [sample(name)])
    assert bool(operations & DECOMPOSITIONS) == (name in SPECTRAL_MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_layer_in_evaluation_waits_for_nothing(name: str) -> None:
    dispatched(MODULES[name]().eval(), [sample(name)])


@pytest.mark.parametrize("name", MODULES)
def test_a_layer_is_what_make_graphed_callables_takes(name: str) -> None:
    """It has no hooks, learns no buffer, and its output depends on all that has a gradient."""
    module = MODULES[name]()
    for part in module.modules():
        assert not {**part._forward_hooks, **part._forward_pre_hooks, **part._backward_hooks}
    assert not any(buffer.requires_grad for buffer in module.buffers())
    assert all(grad is not None for grad in gradients(module, sample(name)))


@pytest.mark.parametrize("layer", UNFITTED, ids=lambda layer: layer.name)
def test_a_layer_of_the_zoo_waits_for_nothing(layer: Layer) -> None:
    dispatched(layer.run, inputs(layer.shapes, "cpu"))


def test_no_layer_is_left_out() -> None:
    """Layers of data are: what they derive from, their observations, has no values here."""
    tried = [*(MODULES[name]() for name in MODULES), *(layer.run for layer in UNFITTED)]
    classes = {type(part) for module in tried for part in module.modules()}
    public = {getattr(cl, name) for name in cl.__all__}
    modules = {one for one in public if isinstance(one, type) and issubclass(one, nn.Module)}
    assert {one.__name__ for one in modules - classes} == {
        "ZCAWhitening",
        "PCAWhitening",
        "CholeskyWhitening",
    }


@pytest.mark.parametrize("name", GOOD)
def test_a_function_waits_for_nothing(name: str) -> None:
    call = GOOD[name]
    tensors = {key: x.float() for key, x in call.items() if isinstance(x, Tensor)}
    others = {key: value for key, value in call.items() if key not in tensors}

    def run(*inputs: Tensor) -> object:
        return getattr(F, name)(**dict(zip(tensors, inputs, strict=True)), **others)

    operations = dispatched(run, [*tensors.values()])
    assert bool(operations & DECOMPOSITIONS) == (name in SPECTRAL_FUNCTIONS)


@pytest.mark.parametrize("n", [6, 65])
@pytest.mark.parametrize(("name", "method"), [*product(ROOTS, METHODS)])
def test_a_root_waits_for_nothing(name: str, method: str, n: int) -> None:
    """By every method with every rule, where a kernel serves the size and where none does."""
    for backward in BACKWARDS:
        run = partial(getattr(F, name), method=method, backward=backward)
        dispatched(run, [spd(2, n=n).float()])


def test_a_value_that_is_read_is_noticed() -> None:
    def read(A: Tensor) -> Tensor:
        return A if A.sum() > 0 else -A

    with pytest.raises((RuntimeError, NotImplementedError)):
        dispatched(read, [spd(2)])


@pytest.mark.parametrize("name", [name for name in BATCH_NORMS if name != "GroupWhitening"])
def test_evaluation_after_a_replay(name: str) -> None:
    """A replay changes running averages in their memory, without a trace in Python."""
    layer, x = NORMS[name](), features()
    layer(x)
    before = layer.eval()(x)
    layer.train()
    for buffer in layer.buffers():
        if buffer.is_floating_point():
            version = buffer._version
            buffer.data.mul_(4)
            assert buffer._version == version
    after = layer.eval()(x)
    assert (before - after).abs().max() > 0.1
    again = NORMS[name]()
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(after, again.eval()(x))
