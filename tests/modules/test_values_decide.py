"""The matrix of evaluation belongs to the statistics as they are, whoever wrote them, and how."""

import copy
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.func import functional_call, stack_module_state, vmap
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

import covlayers as cl
from benchmarks.operations import Operations, as_on_a_gpu
from covlayers import functional as F
from tests.built import BATCH_NORMS, features, trained
from tests.forked import CONTEXT

DATA = {name: getattr(cl, name) for name in ("ZCAWhitening", "PCAWhitening", "CholeskyWhitening")}
BUILDERS: dict[str, Callable[..., nn.Module]] = BATCH_NORMS | DATA
COMPILED = ("DecorrelatedBatchNorm zca", "IterNorm", "PCANorm", "ZCAWhitening")
each = pytest.mark.parametrize("name", BUILDERS)


def given(name: str) -> Tensor:
    return features(90)[..., 0, 0] if name in DATA else features()


def learnt(name: str) -> nn.Module:
    """A layer that has learnt, evaluated, and has seen an input since."""
    layer = DATA[name]().fit(given(name)) if name in DATA else trained(name)
    layer.eval()(given(name))
    return layer


def covariance_of(layer: nn.Module) -> Tensor:
    return layer.covariance if hasattr(layer, "covariance") else layer.running_cov


def anew(name: str, layer: nn.Module) -> nn.Module:
    """Another layer with the same state, which has never computed anything."""
    other = BUILDERS[name]()
    other.load_state_dict(copy.deepcopy(layer.state_dict()))
    return other.eval()


def by_data(layer: nn.Module) -> None:
    covariance_of(layer).data.mul_(4)


def by_numpy(layer: nn.Module) -> None:
    covariance_of(layer).numpy()[...] *= 4


def by_the_mean_alone(layer: nn.Module) -> None:
    (layer.mean if hasattr(layer, "mean") else layer.running_mean).data.add_(1e4)


def by_swapping(layer: nn.Module) -> None:
    """As callbacks swap a model and its average."""
    for one in layer.buffers():
        if one.is_floating_point():
            kept = one.data.clone()
            one.data.copy_(3 * kept)


def without_a_word(layer: nn.Module) -> None:
    with torch.autograd._unsafe_preserve_version_counter(covariance_of(layer)), torch.no_grad():
        covariance_of(layer).mul_(4)


CHANGES = (by_data, by_numpy, by_the_mean_alone, by_swapping, without_a_word)


@each
@pytest.mark.parametrize("evaluated_again", [False, True])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_no_counter_counts(name: str, change, evaluated_again: bool) -> None:
    layer, x = learnt(name), given(name)
    before = layer(x)
    change(layer)
    if evaluated_again:
        layer.eval()
    y = layer(x)
    assert not torch.equal(y, before)
    assert_close(y, anew(name, layer)(x), rtol=0, atol=0)
    if hasattr(layer, "evaluation_matrix"):
        layer.evaluation_matrix().zero_()  # a copy
        assert_close(layer(x), y, rtol=0, atol=0)


def a_collective(rank: int, file: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    for collective in (dist.all_reduce, lambda buffer: dist.broadcast(buffer, 1)):
        for name in ("IterNorm", "ZCAWhitening"):
            torch.manual_seed(rank)
            layer, x = learnt(name), given(name)
            covariance_of(layer).mul_(1 + rank)
            layer(x)
            collective(covariance_of(layer))
            assert_close(layer(x), anew(name, layer)(x), rtol=0, atol=0)
    dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="torch without distributed")
def test_a_collective_changes_the_matrix(tmp_path: Path) -> None:
    processes = [
        CONTEXT.Process(target=a_collective, args=(rank, str(tmp_path / "store")))
        for rank in range(2)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
    assert [one.exitcode for one in processes] == [0, 0]


def averages(name: str, use_buffers: bool, again: bool) -> tuple[nn.Module, nn.Module]:
    """An average of a model in evaluation, updated after that, and what it has to be equal to."""
    model = trained(name)
    averaged = AveragedModel(
        model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=use_buffers
    ).eval()
    for seed in range(3):
        if again:
            averaged(features())
        model.train()(features(seed=seed))
        averaged.update_parameters(model)
    return averaged, anew(name, averaged.module)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", BATCH_NORMS)
def test_an_average_that_is_updated_in_evaluation(
    name: str, use_buffers: bool, again: bool
) -> None:
    averaged, expected = averages(name, use_buffers, again)
    x = features()
    assert torch.isfinite(expected(x)).all()
    assert_close(averaged(x), expected(x), rtol=0, atol=0)
    assert_close(copy.deepcopy(averaged)(x), expected(x), rtol=0, atol=0)


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", COMPILED[:3])
def test_an_average_that_is_compiled_or_exported(
    name: str, use_buffers: bool, whole_graph: Callable[..., Any]
) -> None:
    averaged, expected = averages(name, use_buffers, again=False)
    x = features()
    exported = torch.export.export(averaged, (x,)).module()
    assert_close(exported(x), expected(x), rtol=1e-5, atol=1e-5)
    assert_close(whole_graph(averaged)(x), expected(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiled_graph_sees_what_changes(name: str, whole_graph: Callable[..., Any]) -> None:
    layer, x = learnt(name), given(name)
    compiled = whole_graph(layer)
    assert_close(compiled(x), layer(x), rtol=1e-5, atol=1e-5)
    for change in (by_data, by_swapping):
        change(layer)
        expected = anew(name, layer)(x)
        assert_close(compiled(x), expected, rtol=1e-4, atol=1e-4)
        layer.eval()
        assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", COMPILED)
def test_an_exported_graph_has_the_matrix_of_its_day(name: str) -> None:
    layer, x = learnt(name), given(name)
    for change in (
        lambda: None,
        lambda: by_data(layer),
        lambda: setattr(layer, "eps", 0.5),
        lambda: layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()}),
        lambda: functional_call(layer, {k: 3 * v for k, v in layer.state_dict().items()}, (x,)),
        lambda: layer.double().float(),
    ):
        change()
        expected = anew(name, layer)
        expected.eps = layer.eps
        program = torch.export.export(layer, (x,))
        assert_close(program.module()(x), expected(x), rtol=1e-5, atol=1e-5)
        assert not any("linalg" in str(node.target) for node in program.graph.nodes)
    covariance = "covariance" if name in DATA else "running_cov"
    setattr(layer, covariance, 2 * getattr(layer, covariance))
    expected.load_state_dict(layer.state_dict())
    program = torch.export.export(layer, (x,))
    assert_close(program.module()(x), expected(x), rtol=1e-5, atol=1e-5)


@each
def test_what_is_kept_is_no_state(name: str) -> None:
    layer, x = learnt(name), given(name)
    assert {key for key, _ in layer.named_buffers()} <= {*layer.state_dict()}
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for twin in (copy.deepcopy(layer), torch.load(file, weights_only=False)):
        assert_close(twin(x), layer(x), rtol=0, atol=0)
        by_data(twin)
        assert_close(twin(x), anew(name, twin)(x), rtol=0, atol=0)
        assert not torch.equal(twin(x), layer(x))


@pytest.mark.parametrize("name", ["DecorrelatedBatchNorm zca", "ZCAWhitening"])
def test_an_ensemble_of_changed_layers(name: str) -> None:
    layers, x = [learnt(name) for _ in range(3)], given(name)
    for k, layer in enumerate(layers):
        covariance_of(layer).data.mul_(1 + k)
    base = layers[0]

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return functional_call(base, (parameters, buffers), (x,))

    expected = torch.stack([anew(name, layer)(x) for layer in layers])
    assert_close(vmap(one)(*stack_module_state(layers)), expected, rtol=1e-5, atol=1e-5)
    assert_close(base(x), expected[0], rtol=0, atol=0)


def test_fake_tensors_have_no_values_to_compare() -> None:
    layer = learnt("DecorrelatedBatchNorm zca")
    real = layer.state_dict()
    with FakeTensorMode() as mode:
        state = {key: mode.from_tensor(value) for key, value in real.items()}
        y = functional_call(layer, state, (mode.from_tensor(features()),))
    assert y.shape == features().shape


@pytest.mark.parametrize("name", BATCH_NORMS)
@pytest.mark.parametrize("value", [torch.nan, 1e30])
def test_memory_that_was_never_filled(name: str, value: float) -> None:
    """As ``to_empty`` may find it."""
    norm = BATCH_NORMS[name](device="meta").to_empty(device="cpu")
    for one in norm.buffers():
        one.fill_(value if one.is_floating_point() else 7)
    norm.running_cov[..., 0, 1] = -value
    norm.eval()
    expected = learnt(name)
    norm.load_state_dict(expected.state_dict())
    assert_close(norm(features()), expected(features()), rtol=0, atol=0)


def test_a_forward_pass_says_what_is_wrong_with_such_memory() -> None:
    norm = cl.DecorrelatedBatchNorm(6).eval()
    norm.running_cov.fill_(torch.nan)
    assert norm(features()).isnan().all()
    data = cl.ZCAWhitening(6)
    with pytest.raises(F.InvalidValueError, match="call fit"):
        data.eval()(given("ZCAWhitening"))


@pytest.mark.parametrize("name", sorted(BATCH_NORMS.keys() - {"SwitchableWhitening"}))
def test_a_device_chooses_between_what_is_kept_and_what_follows(name: str) -> None:
    """The way of an accelerator, for which the host does not wait."""
    layer = learnt(name)
    kept = layer._kept
    assert torch.equal(layer._chosen(kept, layer.sources())[0], kept.matrices[0])
    by_data(layer)
    expected = anew(name, layer).evaluation_matrix()
    # float32 in place of float64
    assert_close(layer._chosen(kept, layer.sources())[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["zca", "cholesky", "IterNorm"])
def test_nothing_waits_for_an_accelerator(name: str) -> None:
    build = cl.IterNorm if name == "IterNorm" else partial(cl.DecorrelatedBatchNorm, kind=name)
    x = torch.empty(8, 64, 4, 4, device="meta")
    with as_on_a_gpu(), torch.no_grad():
        layer = build(64).to("meta").eval()
        layer(x)
        with Operations() as operations:
            layer(x)
    assert operations.counts["covlayers::affine"] == 1
    assert not {"aten::_linalg_eigh", "aten::equal", "aten::_local_scalar_dense"} & {
        *operations.counts
    }
    if name == "zca":  # two of them compute the matrix
        assert sum(operations.counts.values()) <= 11
