"""Every layer, by default on a small input, and what one has in plain PyTorch in its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import covlayers as cl
from benchmarks import by_hand
from benchmarks.heads import Average, ClassToken
from benchmarks.measure import spd
from benchmarks.published import isqrt_cov, mpa, mtp
from benchmarks.published_layers import TextbookPool

Run = Callable[..., Tensor]
Shape = tuple[int, ...]
CONDITION = 1e2


@dataclass(frozen=True)
class Sizes:
    """Of what the layers take.

    Attributes:
        channels: of maps, tokens, clips and samples; rows of a matrix.
        frames: of a clip.
        batch: maps, token sequences or matrices.
        clips: clips.
        samples: vectors.
        side: pixels of a map that is normalised.
        pooled: pixels of a map that is pooled.
        tokens: of a sequence.
    """

    channels: int = 8
    frames: int = 4
    batch: int = 8
    clips: int = 2
    samples: int = 32
    side: int = 2
    pooled: int = 4
    tokens: int = 5


SMALL = Sizes()
CHANNELS = SMALL.channels
MAPS = (SMALL.batch, CHANNELS, SMALL.side, SMALL.side)
CLASSES = 3


@dataclass(frozen=True)
class Layer:
    """A layer, the shapes of its inputs, and the counterparts that it is timed against."""

    run: nn.Module
    shapes: tuple[Shape, ...]
    peers: Mapping[str, Run]

    @property
    def name(self) -> str:
        """Its class."""
        return type(self.run).__name__


def zoo(sizes: Sizes = SMALL) -> list[Layer]:
    """All of them."""
    C, T, N = sizes.channels, sizes.frames, sizes.batch
    maps = (N, C, sizes.side, sizes.side)
    pooled = (N, C, sizes.pooled, sizes.pooled)
    tokens = (N, sizes.tokens, C)
    clips = (sizes.clips, T, C, sizes.side, sizes.side)
    samples, matrices = (sizes.samples, C), (N, C, C)
    batch_norm = {"BatchNorm2d": nn.BatchNorm2d(C)}
    mean: dict[str, Run] = {"mean": Average(2)}
    eigh = mean | {"eigh by hand": by_hand.pool}
    linear = {"Linear": nn.Linear(C, C)}
    gate = {"gate of the mean": by_hand.gate}
    two, fitted = (pooled, pooled), torch.randn(samples)
    return [
        Layer(cl.DecorrelatedBatchNorm(C), (maps,), batch_norm),
        Layer(cl.IterNorm(C), (maps,), batch_norm),
        Layer(cl.PCANorm(C, C // 2), (maps,), batch_norm),
        Layer(cl.GroupWhitening(C, C // 2), (maps,), batch_norm),
        Layer(cl.SwitchableWhitening(C, 2), (maps,), batch_norm),
        Layer(cl.CovPool(C), (pooled,), eigh),
        Layer(cl.MPNCovPool(C), (pooled,), eigh),
        Layer(cl.ISQRTCovPool(C), (pooled,), mean | textbook("iSQRT-COV", isqrt_cov)),
        Layer(cl.MTPCovPool(C), (pooled,), mean | textbook("MTP", mtp)),
        Layer(cl.MPACovPool(C), (pooled,), mean | textbook("MPA", mpa)),
        Layer(cl.CrossCovPool(C, C // 2), (pooled,), mean),
        Layer(cl.CovAttention(C, C // 2, grid_size=sizes.side), (pooled,), gate),
        Layer(cl.SVPowerNorm(), (matrices,), {"svd by hand": by_hand.power_norm}),
        Layer(cl.SecondOrderHead(C, CLASSES), (tokens,), {"class token": ClassToken(C)}),
        Layer(cl.AttentiveTemporalCovPool(C, T), (clips,), {"mean": Average(3)}),
        Layer(cl.TCPCovPool(C, T), (clips,), {"mean": Average(3)}),
        Layer(
            cl.TemporalSpatialAttention(C),
            (clips,),
            {"scaled_dot_product_attention": by_hand.attend},
        ),
        Layer(cl.TemporalChannelAttention(C), (clips,), gate),
        Layer(
            cl.TemporalConv(C, T),
            (clips,),
            {"Conv3d": nn.Conv3d(T, T, 3, padding=1)},
        ),
        Layer(cl.ZCAWhitening(C).fit(fitted), (samples,), linear),
        Layer(cl.PCAWhitening(C).fit(fitted), (samples,), linear),
        Layer(cl.CholeskyWhitening(C).fit(fitted), (samples,), linear),
        Layer(cl.WhiteningColoring(), two, {"eigh by hand": by_hand.whitening_coloring}),
        Layer(cl.GroupWhiteningColoring(2), two, {"eigh by hand": by_hand.whitening_coloring}),
        Layer(cl.AdaIN(), two, {"by hand": by_hand.adain}),
        Layer(cl.WhiteningLoss(), (pooled,), {"by hand": by_hand.distance_from_white}),
        Layer(
            cl.ColoringOrthogonalityLoss(),
            (matrices,),
            {"by hand": by_hand.distance_from_orthogonal},
        ),
    ]


def textbook(name: str, root: Callable[[Tensor], Tensor]) -> dict[str, Run]:
    """The pooling with the root as published."""
    return {f"textbook {name}": TextbookPool(root)}


def inputs(shapes: Sequence[Shape], device: str) -> list[Tensor]:
    """Features, or symmetric positive definite matrices, that a gradient is asked of."""
    generator = torch.Generator().manual_seed(0)
    tensors = (
        spd(shape[-1], shape[0], CONDITION, generator).float()
        if len(shape) == 3 and shape[-1] == shape[-2]
        else torch.randn(shape, generator=generator)
        for shape in shapes
    )
    return [x.to(device).requires_grad_() for x in tensors]


def placed(run: Run, device: str) -> Run:
    """A module moved there, a function as it is."""
    return run.to(device) if isinstance(run, nn.Module) else run
