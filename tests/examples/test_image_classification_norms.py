"""The norm of the stem in the image classification example."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from covlayers import DecorrelatedBatchNorm, IterNorm, PCANorm
from covlayers import functional as F

pytest.importorskip("torchvision")  # the examples' images and networks
pytest.importorskip("jsonargparse")  # their command line
pytest.importorskip("pytorch_lightning")  # their training

NORMS = {
    "batch": torch.nn.BatchNorm2d,
    "decorrelated": DecorrelatedBatchNorm,
    "iternorm": IterNorm,
    "pca": PCANorm,
}


@pytest.fixture(scope="module")
def example(load_example: Callable[[str], SimpleNamespace]) -> SimpleNamespace:
    return load_example("image_classification")


def test_every_norm_is_tested(example: SimpleNamespace) -> None:
    assert list(example.network.NORMS) == list(NORMS)


@pytest.mark.parametrize("norm", NORMS)
def test_norm_trains_one_batch(example: SimpleNamespace, norm: str) -> None:
    torch.manual_seed(0)
    model = example.module.ImageClassifier(head="avg", norm=norm)
    model(torch.randn(16, 1, 8, 8)).square().sum().backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters())
    assert model.eval()(torch.randn(2, 1, 8, 8)).isfinite().all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(
    ("backbone", "stem"), [("small_resnet", "trunk.1"), ("resnet18", "trunk.bn1")]
)
def test_norm_takes_the_place_of_that_of_the_stem_only(
    example: SimpleNamespace, backbone: str, stem: str, norm: str
) -> None:
    torch.manual_seed(0)
    plain = example.network.build_network(backbone, "avg", 10)
    torch.manual_seed(0)
    network = example.network.build_network(backbone, "avg", 10, norm=norm)
    types = {path: type(module) for path, module in plain.named_modules()}
    assert {path: type(module) for path, module in network.named_modules()} == types | {
        stem: NORMS[norm]
    }
    expected = dict(plain.named_parameters())
    assert all(torch.equal(weight, expected[path]) for path, weight in network.named_parameters())


@pytest.mark.parametrize(
    ("method", "backward"),
    [("eigh", "power_iteration"), ("eigh", "taylor_gaps"), ("pade", "lyapunov")],
)
def test_published_gradients_are_options_of_the_norm(
    example: SimpleNamespace, method: str, backward: str
) -> None:
    command = example.main.cli(
        [
            *("fit", "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu"),
            *("--model.norm=decorrelated", "--model.norm_options.num_groups=4"),
            f"--model.norm_options.method={method}",
            f"--model.norm_options.backward={backward}",
        ]
    )
    norm = command.model.network.trunk[1]
    assert (norm.num_groups, norm.method, norm.backward) == (
        4,
        F.METHODS[method](),
        F.BACKWARDS[backward](),
    )
    assert command.trainer.callback_metrics["train_loss"].isfinite()


def test_sync_batchnorm_leaves_a_whitening_whole(example: SimpleNamespace) -> None:
    network = example.network.build_network("small_resnet", "avg", 10, 1, norm="decorrelated")
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert isinstance(converted.trunk[1], DecorrelatedBatchNorm)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in converted.modules())
