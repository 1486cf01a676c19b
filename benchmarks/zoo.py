"""Every layer on a small input, and what one has in plain PyTorch in its place."""

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
CHANNELS = 8
FRAMES = 4
CLASSES = 3
MAPS = (8, CHANNELS, 2, 2)
POOLED = (8, CHANNELS, 4, 4)
TOKENS = (8, 5, CHANNELS)
CLIPS = (2, FRAMES, CHANNELS, 2, 2)
SAMPLES = (32, CHANNELS)
MATRICES = (8, CHANNELS, CHANNELS)
CONDITION = 1e2


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


def zoo() -> list[Layer]:
    """All of them."""
    batch_norm = {"BatchNorm2d": nn.BatchNorm2d(CHANNELS)}
    mean: dict[str, Run] = {"mean": Average(2)}
    eigh = mean | {"eigh by hand": by_hand.pool}
    linear = {"Linear": nn.Linear(CHANNELS, CHANNELS)}
    gate = {"gate of the mean": by_hand.gate}
    two, samples = (POOLED, POOLED), torch.randn(SAMPLES)
    return [
        Layer(cl.DecorrelatedBatchNorm(CHANNELS), (MAPS,), batch_norm),
        Layer(cl.IterNorm(CHANNELS), (MAPS,), batch_norm),
        Layer(cl.PCANorm(CHANNELS, CHANNELS // 2), (MAPS,), batch_norm),
        Layer(cl.GroupWhitening(CHANNELS, CHANNELS // 2), (MAPS,), batch_norm),
        Layer(cl.SwitchableWhitening(CHANNELS, 2), (MAPS,), batch_norm),
        Layer(cl.CovPool(CHANNELS), (POOLED,), eigh),
        Layer(cl.MPNCovPool(CHANNELS), (POOLED,), eigh),
        Layer(cl.ISQRTCovPool(CHANNELS), (POOLED,), mean | textbook("iSQRT-COV", isqrt_cov)),
        Layer(cl.MTPCovPool(CHANNELS), (POOLED,), mean | textbook("MTP", mtp)),
        Layer(cl.MPACovPool(CHANNELS), (POOLED,), mean | textbook("MPA", mpa)),
        Layer(cl.CrossCovPool(CHANNELS, CHANNELS // 2), (POOLED,), mean),
        Layer(cl.CovAttention(CHANNELS, CHANNELS // 2, grid_size=2), (POOLED,), gate),
        Layer(cl.SVPowerNorm(), (MATRICES,), {"svd by hand": by_hand.power_norm}),
        Layer(
            cl.SecondOrderHead(CHANNELS, CLASSES), (TOKENS,), {"class token": ClassToken(CHANNELS)}
        ),
        Layer(cl.AttentiveTemporalCovPool(CHANNELS, FRAMES), (CLIPS,), {"mean": Average(3)}),
        Layer(cl.TCPCovPool(CHANNELS, FRAMES), (CLIPS,), {"mean": Average(3)}),
        Layer(
            cl.TemporalSpatialAttention(CHANNELS),
            (CLIPS,),
            {"scaled_dot_product_attention": by_hand.attend},
        ),
        Layer(cl.TemporalChannelAttention(CHANNELS), (CLIPS,), gate),
        Layer(
            cl.TemporalConv(CHANNELS, FRAMES),
            (CLIPS,),
            {"Conv3d": nn.Conv3d(FRAMES, FRAMES, 3, padding=1)},
        ),
        Layer(cl.ZCAWhitening(CHANNELS).fit(samples), (SAMPLES,), linear),
        Layer(cl.PCAWhitening(CHANNELS).fit(samples), (SAMPLES,), linear),
        Layer(cl.CholeskyWhitening(CHANNELS).fit(samples), (SAMPLES,), linear),
        Layer(cl.WhiteningColoring(), two, {"eigh by hand": by_hand.whitening_coloring}),
        Layer(cl.GroupWhiteningColoring(2), two, {"eigh by hand": by_hand.whitening_coloring}),
        Layer(cl.AdaIN(), two, {"by hand": by_hand.adain}),
        Layer(cl.WhiteningLoss(), (POOLED,), {"by hand": by_hand.distance_from_white}),
        Layer(
            cl.ColoringOrthogonalityLoss(),
            (MATRICES,),
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
