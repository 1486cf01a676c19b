"""Running statistics taken again, and frozen."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from covlayers.functional import InvalidTypeError, InvalidValueError
from covlayers.modules.norms.batchnorm import DecorrelatedBatchNorm, IterNorm
from covlayers.modules.norms.switchable_whitening import SwitchableWhitening
from covlayers.surgery import freeze_stats, recalibrate


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(0.5),
        DecorrelatedBatchNorm(4, momentum=0.2),
        nn.Conv2d(4, 6, 3),
        nn.BatchNorm2d(6, momentum=0.3),
        SwitchableWhitening(6),
        IterNorm(6, track_running_stats=False),
        nn.BatchNorm2d(6, track_running_stats=False),
    )


def loader(batches: int = 5) -> list[torch.Tensor]:
    return [torch.randn(8, 4, 6, 6) * 3 + 1 for _ in range(batches)]


def flags(model: nn.Module) -> list[object]:
    return [(m.training, getattr(m, "momentum", None)) for m in model.modules()]


def test_takes_the_plain_average() -> None:
    model, batches = network(), loader()
    model(torch.randn(8, 4, 6, 6))
    model[3].eval()
    before = flags(model)
    assert recalibrate(model, batches) is model
    assert flags(model) == before
    assert not hasattr(model[3], "frozen")
    mean = torch.stack([x.mean((0, 2, 3)) for x in batches]).mean(0)
    cov = torch.stack([torch.cov(x.transpose(0, 1).flatten(1)) for x in batches]).mean(0)
    assert_close(model[1].running_mean, mean)
    assert_close(model[1].running_cov[0], cov)
    features = [model[2](model[1](x)) for x in batches]  # whitened by the batch, without dropout
    variance = torch.stack([y.transpose(0, 1).flatten(1).var(1) for y in features]).mean(0)
    assert_close(model[3].running_var, variance)
    assert {model[i].num_batches_tracked.item() for i in (3, 4)} == {5}


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x, 0), lambda x: [x.double()]])
def test_batches(wrap) -> None:
    model = nn.Sequential(IterNorm(4))
    if wrap(torch.zeros(1))[0].dtype == torch.float64:
        model.double()
    recalibrate(model, (wrap(x) for x in loader(3)), device="cpu")
    assert model[0].num_batches_tracked == 3


@pytest.mark.parametrize(
    ("wrap", "inputs"),
    [
        (lambda x: {"label": 0, "image": x}, "image"),
        (lambda x: {"label": 0, "image": x}, lambda batch: {"input": batch["image"]}),
        (lambda x: (0, x), lambda batch: batch[1]),
    ],
)
def test_batches_by_key_or_function(wrap, inputs) -> None:
    model, batches = nn.Sequential(IterNorm(4)), loader(3)
    recalibrate(model, map(wrap, batches), inputs=inputs, device="cpu")
    expected = recalibrate(nn.Sequential(IterNorm(4)), batches)
    assert_close(dict(model.state_dict()), dict(expected.state_dict()))


def test_a_batch_says_what_it_has() -> None:
    batches = [{"label": 0, "image": torch.zeros(2, 4)}]
    for inputs, error in ((None, InvalidTypeError), ("pixels", InvalidValueError)):
        with pytest.raises(error, match=r"inputs must be a key.*\['label', 'image'\]"):
            recalibrate(nn.Sequential(IterNorm(4)), batches, inputs=inputs)
    with pytest.raises(InvalidValueError, match="got 'image' for Tensor"):
        recalibrate(nn.Sequential(IterNorm(4)), loader(1), inputs="image")


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(IterNorm(4))
    assert capsys.readouterr().err == ""
    recalibrate(model, loader(3), progress=True)
    assert capsys.readouterr().err == "\r1 of 3 batches\r2 of 3 batches\r3 of 3 batches\n"
    recalibrate(model, iter(loader(1)), progress=True)
    assert capsys.readouterr().err == "\r1 batches\n"
    recalibrate(model, loader(1))
    assert capsys.readouterr().err == ""


def test_trains_nothing() -> None:
    model = network()
    parameters = [p.clone() for p in model.parameters()]
    recalibrate(model, loader())
    assert_close(list(model.parameters()), parameters)
    assert all(p.grad is None for p in model.parameters())


def broken() -> Iterator[torch.Tensor]:
    yield from loader(2)
    raise OSError("disk")


@pytest.mark.parametrize(
    ("batches", "error"),
    [
        (broken, OSError),
        (lambda: iter([]), InvalidValueError),
        (lambda: [*loader(2), torch.randn(8, 5, 6, 6)], InvalidValueError),
    ],
)
def test_an_error_leaves_all_as_it_was(batches, error: type[Exception]) -> None:
    model = network()
    model(torch.randn(8, 4, 6, 6) * 2)
    model[1].eval()
    freeze_stats(model[4])
    before, state = flags(model), {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.randn(2, 4, 6, 6)
    y = model[1](x)
    with pytest.raises(error):
        recalibrate(model, batches())
    assert flags(model) == before
    assert model[4].frozen
    assert_close(dict(model.state_dict()), state)
    assert_close(model[1](x), y)


def test_a_layer_that_no_batch_reaches_keeps_what_it_had() -> None:
    model = nn.Sequential(IterNorm(4))
    model.spare = nn.BatchNorm1d(4)
    model.spare(torch.randn(9, 4) + 3)
    mean = model.spare.running_mean.clone()
    model.forward = model[0].forward
    recalibrate(model, loader())
    assert model[0].num_batches_tracked == 5
    assert_close(model.spare.running_mean, mean)


def test_frozen_layers_too() -> None:
    model = freeze_stats(nn.Sequential(IterNorm(4)))
    recalibrate(model, loader())
    assert model[0].frozen
    assert model[0].num_batches_tracked == 5


def test_a_model_without_layers() -> None:
    model = nn.Linear(4, 4)
    assert recalibrate(model, [torch.randn(2, 4)]) is model
    assert freeze_stats(model) is model


def test_frozen_statistics_are_used_and_kept() -> None:
    model = nn.Sequential(DecorrelatedBatchNorm(4), SwitchableWhitening(4, statistics=("bw",)))
    for x in loader(3):
        model(x)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    assert freeze_stats(model) is model
    x = torch.randn(8, 4, 6, 6, requires_grad=True)
    y = model.train()(x)
    y.square().sum().backward()
    assert x.grad is not None
    assert model[0].weight.grad is not None
    assert_close(dict(model.state_dict()), state)
    assert_close(y, model.eval()(x))
    freeze_stats(model, False).train()(x)
    assert model[0].num_batches_tracked == 4
