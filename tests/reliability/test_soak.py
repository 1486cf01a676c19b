"""Long trainings on batches that no one would choose: everything stays finite."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import covlayers as cl
from benchmarks.published import mpa
from benchmarks.published_layers import TextbookPool
from tests.built import BATCH_NORMS
from tests.counted import Counted

CHANNELS, CLASSES, SIDE = 6, 4, 6
STEPS, STEPS_OF_EACH = 10_000, 1000
PROMISED = "weights and running averages finite, and the loss wherever the batch is"


def images(generator: torch.Generator, samples: int = 8) -> Tensor:
    """Noise with a mean."""
    return torch.randn(samples, 3, SIDE, SIDE, generator=generator) + 1


def low_rank(x: Tensor) -> Tensor:
    """All channels alike up to 1e-6."""
    return x[:, :1] + 1e-6 * x


BATCHES: dict[str, Callable[[torch.Generator], Tensor]] = {
    "ordinary": images,
    "constant": lambda g: images(g, 8)[..., :1, :1].expand(-1, -1, SIDE, SIDE),
    "all one constant": lambda g: images(g, 1)[..., :1, :1].expand(8, -1, SIDE, SIDE),
    "zero": lambda g: torch.zeros(8, 3, SIDE, SIDE),
    "tiny": lambda g: 1e-8 * images(g),
    "huge": lambda g: 1e4 * images(g),
    "huge mean": lambda g: images(g) + 1e4,
    "duplicates": lambda g: images(g, 1).expand(8, -1, -1, -1),
    "one sample": lambda g: images(g, 1),
    "nearly singular": lambda g: low_rank(images(g)),
    "one pixel": lambda g: torch.zeros(8, 3, SIDE, SIDE).index_fill_(3, torch.tensor(2), 1.0),
    "not finite": lambda g: images(g).index_fill_(0, torch.tensor(3), torch.nan),
}
"""A batch of each kind; the last is not finite, and a loop passes over it as a GradScaler does."""


class EighWhitening(nn.Module):
    """DecorrelatedBatchNorm by an eigendecomposition that autograd differentiates."""

    def __init__(self, channels: int, eps: float = 1e-3) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = (nn.Parameter(f(channels, 1)) for f in (torch.ones, torch.zeros))

    def forward(self, x: Tensor) -> Tensor:
        z = x.transpose(0, 1).flatten(1)
        z = z - z.mean(1, keepdim=True)
        cov = z @ z.mT / z.shape[1] + self.eps * torch.eye(z.shape[0])
        values, vectors = torch.linalg.eigh(cov)
        white = vectors * values.rsqrt() @ vectors.mT @ z * self.weight + self.bias
        return white.view(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)


def normalised(norm: nn.Module) -> nn.Module:
    """A network with a normalisation layer."""
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(CHANNELS, CLASSES))
    return nn.Sequential(nn.Conv2d(3, CHANNELS, 3), norm, nn.ReLU(), *pooled)


def pooled(pool: nn.Module) -> nn.Module:
    """A network with a pooling."""
    features = CHANNELS * (CHANNELS + 1) // 2
    return nn.Sequential(nn.Conv2d(3, CHANNELS, 3), pool, nn.Linear(features, CLASSES))


@dataclass
class Training:
    """What became of a network.

    Attributes:
        held: by step and kind of batch, whether all was finite that had to be.
        largest: the largest entry of a weight, over all steps.
    """

    held: dict[str, bool] = field(default_factory=dict)
    largest: float = 0.0

    @property
    def first_failure(self) -> str:
        """The step and the batch that ended it, in words."""
        return next((name for name, held in self.held.items() if not held), "")


def train(network: nn.Module, steps: int, *, stop: bool = False) -> Training:
    """SGD over batches of all kinds in random order, with the norm of the gradient clipped.

    Args:
        network: from images to logits.
        steps: how many.
        stop: whether to end at the first that does not hold.
    """
    generator = torch.Generator().manual_seed(0)
    parameters = [*network.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)
    kinds, training = list(BATCHES), Training()
    for step in range(steps):
        kind = kinds[torch.randint(len(kinds), (), generator=generator)]
        x = BATCHES[kind](generator)
        labels = torch.randint(CLASSES, (len(x),), generator=generator)
        loss = cross_entropy(network(x), labels)
        if loss.isfinite():
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        tensors = (t for t in network.state_dict().values() if t.is_floating_point())
        state = torch.cat([t.detach().flatten() for t in tensors])
        held = bool(state.isfinite().all() and loss.isfinite() == x.isfinite().all())
        training.held[f"step {step}, {kind} batch"] = held
        if stop and not held:
            break
        weights = (float(p.detach().abs().max()) for p in parameters)
        training.largest = max(training.largest, *weights)
    return training


def seeded(build: Callable[[], nn.Module], steps: int, *, stop: bool = False) -> Training:
    """The training of a network whose first weights never differ."""
    torch.manual_seed(0)
    return train(build(), steps, stop=stop)


LONG: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], str]] = {
    "DecorrelatedBatchNorm": (
        lambda: normalised(cl.DecorrelatedBatchNorm(CHANNELS)),
        lambda: normalised(EighWhitening(CHANNELS)),
        "torch.linalg.eigh + autograd",
    ),
    "MPACovPool": (
        lambda: pooled(cl.MPACovPool(CHANNELS)),
        lambda: pooled(TextbookPool(mpa)),
        "as published",
    ),
}


@pytest.mark.promise("long training", f"steps on hostile batches with {{name}}: {PROMISED}")
@pytest.mark.parametrize("name", LONG)
def test_long(name: str, full: bool, counted: Counted) -> None:
    steps = STEPS if full else 300
    ours, other, whose = LONG[name]
    judge(counted, name, seeded(ours, steps))
    if full:
        counted.beside = f"{whose}: {ended(other, steps)}"


@pytest.mark.promise(
    "long training", f"steps on hostile batches with each normalisation: {PROMISED}"
)
@pytest.mark.parametrize("name", BATCH_NORMS)
def test_each_normalisation(name: str, full: bool, counted: Counted) -> None:
    steps = STEPS_OF_EACH if full else 50
    judge(counted, name, seeded(lambda: normalised(BATCH_NORMS[name]()), steps))
    if full:
        plain = ended(lambda: normalised(nn.BatchNorm2d(CHANNELS)), steps)
        counted.beside = f"nn.BatchNorm2d: {plain}"


def judge(counted: Counted, name: str, training: Training) -> None:
    for step, held in training.held.items():
        counted.case(name, step, held=held)
    counted.figure(training.largest, "largest weight {}")


def ended(build: Callable[[], nn.Module], steps: int) -> str:
    """How another network fares."""
    failure = seeded(build, steps, stop=True).first_failure
    return f"not finite after {failure}" if failure else "finite"
