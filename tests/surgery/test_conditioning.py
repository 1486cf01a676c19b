"""Watching the spectra while a model trains, without a trace in the training."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from covlayers.functional import InvalidValueError
from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.norms.switchable_whitening import SwitchableWhitening
from covlayers.surgery import ConditioningMonitor, freeze_stats

KEYS = {"condition_number", "effective_rank", "smallest_eigenvalue_to_eps"}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), DecorrelatedBatchNorm(4, num_groups=2), IterNorm(4))


def data(*variances: float) -> torch.Tensor:
    """Features of exactly these variances, without correlation."""
    z = torch.randn(50, len(variances), dtype=torch.float64)
    U, _, V = torch.linalg.svd(z - z.mean(0), full_matrices=False)
    return (U @ V * (50 * torch.tensor(variances).double()).sqrt()).float()


def test_measures_the_worst_group() -> None:
    norm = DecorrelatedBatchNorm(4, num_groups=2, eps=0.5)
    with ConditioningMonitor(norm) as monitor:
        norm(data(4.0, 1.0, 2.0, 2.0))
    metrics = monitor.metrics()
    assert metrics.keys() == KEYS
    assert_close(metrics["condition_number"].item(), 4.5 / 1.5)
    p = torch.tensor([0.8, 0.2])
    rank = (torch.exp(-(p * p.log()).sum()) + 2) / 2
    assert_close(metrics["effective_rank"], rank)
    assert_close(metrics["smallest_eigenvalue_to_eps"].item(), 1.0 / 0.5)


def test_a_singular_batch() -> None:
    norm = DecorrelatedBatchNorm(4, eps=0.5)
    with ConditioningMonitor(norm) as monitor:
        norm(data(1.0, 0.0, 0.0, 0.0))
    metrics = monitor.metrics()
    assert_close(metrics["condition_number"].item(), 3.0)
    assert_close(metrics["effective_rank"].item(), 1.0)
    assert metrics["smallest_eigenvalue_to_eps"] >= 0


def test_names_and_kinds_of_layers() -> None:
    model = nn.Sequential(network(), nn.Unflatten(1, (2, 2)), SwitchableWhitening(2))
    with ConditioningMonitor(model) as monitor:
        assert monitor.metrics() == {}
        model(torch.randn(16, 3))
    assert monitor.metrics().keys() == {f"{n}/{k}" for n in ("0.1", "0.2", "2") for k in KEYS}
    for value in monitor.metrics().values():
        assert value.shape == ()
        assert not value.requires_grad


def test_every() -> None:
    norm = IterNorm(2)
    monitor = ConditioningMonitor(norm, every=3)
    seen = []
    for variance in (1.0, 2.0, 3.0, 4.0, 5.0):
        norm(data(variance, variance))
        seen.append(monitor.metrics()["smallest_eigenvalue_to_eps"].item() * norm.eps)
        norm.eval()(data(7.0, 7.0))
        norm.train()(data(1.0, 1.0)[:0])
    rounding = {"rtol": 1e-6, "atol": 0.0}  # of float32; measured 2.4e-7
    assert_close(seen, [1.0, 1.0, 1.0, 4.0, 4.0], **rounding)
    monitor.remove()
    for _ in range(3):
        norm(data(9.0, 9.0))
    assert_close(monitor.metrics()["smallest_eigenvalue_to_eps"].item() * norm.eps, 4.0, **rounding)
    with pytest.raises(InvalidValueError, match="every must be at least 1"):
        ConditioningMonitor(norm, every=0)


def test_training_is_the_same() -> None:
    watched, plain = network(), network()
    plain.load_state_dict(watched.state_dict())
    monitor = ConditioningMonitor(watched, every=1)
    for _ in range(3):
        x = torch.randn(16, 3)
        results = []
        for model in (watched, plain):
            model.zero_grad()
            y = model(x)
            y.pow(4).sum().backward()
            results.append((y, [p.grad for p in model.parameters()], dict(model.state_dict())))
        assert_close(*results, rtol=0, atol=0)
    assert monitor.metrics()
    assert watched.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_batch_that_is_not_finite(value: float) -> None:
    norm = freeze_stats(IterNorm(4, num_groups=2))
    x = torch.randn(16, 4)
    x[3, 0] = value
    with ConditioningMonitor(norm) as monitor:
        norm(x)
    assert all(metric.isnan() for metric in monitor.metrics().values())


def test_half_features_and_keywords() -> None:
    norm = IterNorm(4)
    with (
        ConditioningMonitor(norm, every=1) as monitor,
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        norm(x=torch.randn(64, 4).bfloat16())
    assert {metric.dtype for metric in monitor.metrics().values()} == {torch.float32}


def test_a_compiled_model_is_not_watched() -> None:
    torch._dynamo.reset()
    model = network()
    with ConditioningMonitor(model, every=1) as monitor:
        torch.compile(model, fullgraph=True, backend="aot_eager")(torch.randn(16, 3))
    assert monitor.metrics() == {}


def test_copies() -> None:
    model = network()
    with ConditioningMonitor(model, every=1) as monitor:
        model(torch.randn(16, 3))
        before = monitor.metrics()
        for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            twin(torch.randn(16, 3))
        assert monitor.metrics() == before
