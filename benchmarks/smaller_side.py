"""Covariance pooling on the side of its positions, beside the side of its channels.

    python -m benchmarks.smaller_side [--quick] [--device cpu|cuda|auto] [--output FILE]

A step is one forward and one backward pass in float32; the two sides take turns. Errors are of the
worst sample, against the channels in float64. ``few`` goes through numbers of positions, for the
threshold in ``tuning.py``. ``network`` is a ResNet-50 at 224 pixels, whose head has 256 channels.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from unittest.mock import patch

import torch
import torchvision
from torch import Tensor, nn

import covlayers as cl
from benchmarks.measure import Row, milliseconds
from benchmarks.memory import kept_bytes
from benchmarks.record import begin, command_line, finish, parse
from benchmarks.schemas import SCHEMAS
from benchmarks.training_step import step
from covlayers.functional import whitening_coloring

SEED = 0


class Coloured(nn.Module):
    """Whitening-coloring of images, each in the style of another, with both roots on one side."""

    def __init__(self, side: str) -> None:
        super().__init__()
        self.few = side == "positions"
        self.layer = cl.WhiteningColoring()

    def forward(self, x: Tensor) -> Tensor:
        """Transfer."""
        with patch.object(whitening_coloring, "few_positions", lambda x, side: self.few):
            y: Tensor = self.layer(x, x.roll(1, 0))
        return y


# The most that a step on the positions may take of a step on the channels.
LAYERS: dict[str, tuple[Callable[..., nn.Module], dict[tuple[int, ...], float | None]]] = {
    "CovPool": (
        cl.CovPool,
        {(32, 256, 7, 7): 0.18, (8, 512, 7, 7): 0.1, (16, 384, 14, 14): 0.6},
    ),
    "CovPool log": (partial(cl.CovPool, function="log"), {(32, 256, 7, 7): None}),
    "MPNCovPool": (cl.MPNCovPool, {(32, 256, 7, 7): None}),
    "ISQRTCovPool": (cl.ISQRTCovPool, {(32, 256, 7, 7): 0.2, (32, 256, 14, 14): 1.0}),
    "MTPCovPool": (cl.MTPCovPool, {(32, 256, 7, 7): None}),
    "MPACovPool": (cl.MPACovPool, {(32, 256, 7, 7): 0.2, (32, 256, 14, 14): 1.0}),
    "WhiteningColoring": (Coloured, {(2, 512, 7, 7): None, (2, 512, 14, 14): None}),
}
FEW = {64: 64, 128: 32, 256: 16}  # samples, by channels
SHARES = (0.25, 0.5, 0.625, 0.75, 0.875, 1.0)  # positions for each channel
IMAGES = (4, 3, 224, 224)
REDUCED = 256
HEADS = {"CovPool": cl.CovPool, "ISQRTCovPool": cl.ISQRTCovPool, "MPACovPool": cl.MPACovPool}
ENTRIES = SCHEMAS["smaller_side"]["rows"].split()
SIDES = ("channels", "positions")
HEADINGS = (
    "ms on the channels and the positions, ratio, target; kept over input; value and gradient error"
)


def layers(device: str, min_time: float) -> Iterator[Row]:
    """Time, memory and errors of each layer."""
    for name, (build, shapes) in LAYERS.items():
        for shape, at_most in shapes.items():
            yield compared("layers", name, build, shape, at_most, device, min_time)


def few(device: str, min_time: float) -> Iterator[Row]:
    """How many positions are few."""
    for name, build in HEADS.items():
        for channels, samples in FEW.items():
            for share in SHARES:
                shape = (samples, channels, int(share * channels))
                yield compared("few", name, build, shape, None, device, min_time)


def compared(
    part: str,
    what: str,
    build: Callable[..., nn.Module],
    shape: Sequence[int],
    at_most: float | None,
    device: str,
    min_time: float,
) -> Row:
    """One layer on both sides."""
    generator = torch.Generator().manual_seed(SEED)
    x = torch.randn(*shape, generator=generator).to(device).requires_grad_()
    pools = {side: build(side=side).to(device) for side in SIDES}
    times = milliseconds([partial(step, pool, x) for pool in pools.values()], min_time)
    exact = value_and_gradient(build(side="channels"), x.detach().double().requires_grad_())
    found = {}
    for (side, pool), (time, _) in zip(pools.items(), times, strict=True):
        errors = map(worst, value_and_gradient(pool, x), exact)
        found |= dict(zip((f"{side}_value_error", f"{side}_gradient_error"), errors, strict=True))
        found |= {f"{side}_ms": time, f"{side}_kept": kept_bytes(pool, x) / x.nbytes}
    ratio = found["positions_ms"] / found["channels_ms"]
    about = {"part": part, "what": what, "shape": list(shape), "ratio": ratio, "at_most": at_most}
    return dict.fromkeys(ENTRIES) | about | found


def value_and_gradient(pool: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a layer returns, and its gradient for fixed weights."""
    y = pool(x)
    above = torch.sin(torch.arange(y.numel(), device=y.device, dtype=y.dtype)).view_as(y)
    return y.detach(), torch.autograd.grad(y, x, above)[0]


def worst(actual: Tensor, exact: Tensor) -> float:
    """The largest relative error of a sample."""
    distance = (actual.double() - exact).flatten(1).norm(dim=1)
    return float((distance / exact.flatten(1).norm(dim=1)).max())


def network(device: str, min_time: float) -> Iterator[Row]:
    """The head's share of a training step of a whole network."""
    torch.manual_seed(SEED)
    backbone = torchvision.models.resnet50(weights=None)
    body = nn.Sequential(*list(backbone.children())[:-2]).to(device)
    images = torch.randn(*IMAGES, device=device)
    features = body(images).detach().requires_grad_()
    ((body_ms, _),) = milliseconds([partial(step, body, images.requires_grad_())], min_time)
    for name, build in HEADS.items():
        pools = [build(features.shape[1], REDUCED, side=side).to(device) for side in SIDES]
        (full, _), (small, _) = milliseconds([partial(step, p, features) for p in pools], min_time)
        yield dict.fromkeys(ENTRIES) | {
            "part": "network",
            "what": name,
            "shape": list(features.shape),
            "channels_ms": full,
            "positions_ms": small,
            "ratio": small / full,
            "step_ms": body_ms,
            "channels_share": full / (body_ms + full),
            "positions_share": small / (body_ms + small),
        }


def line(row: Row) -> str:
    """One row as aligned text."""
    title = f"{row['part']:8} {row['what']:17} {(*row['shape'],)!s:20}"
    times = f"{row['channels_ms']:9.2f}{row['positions_ms']:9.2f}{row['ratio']:7.3f}"
    if row["part"] == "network":
        shares = f"{row['channels_share']:8.1%}{row['positions_share']:8.1%}"
        return f"{title}{times}  of a step with {row['step_ms']:.0f} ms beside it: {shares}"
    target = "      " if row["at_most"] is None else f"{row['at_most']:6.2f}"
    kept = f"{row['channels_kept']:7.2f}{row['positions_kept']:7.2f}"
    keys = [f"{side}_{what}_error" for what in ("value", "gradient") for side in SIDES]
    return f"{title}{times}{target}{kept}" + "".join(f"{row[key]:9.0e}" for key in keys)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = command_line("smaller_side", "smaller_side.py", __doc__, (2.0, 0.1))
    options = parse(parser, arguments)
    metadata = begin(options, seed=SEED)
    print(f"\n{HEADINGS}")
    rows: list[Row] = []
    for part in (layers, few) if options.quick else (layers, few, network):
        for row in part(options.device, options.min_time):
            print(line(row), flush=True)
            rows.append(row)
    finish(options, metadata, rows)


if __name__ == "__main__":
    main()
