"""Every module of the library, built, for the tests that hold for all of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import covlayers as cl
from covlayers import functional as F

KINDS = ("zca", "pca", "cholesky", "zca_cor", "pca_cor")
BATCH_NORMS: dict[str, Callable[..., nn.Module]] = {
    **{
        f"DecorrelatedBatchNorm {kind}": lambda kind=kind, **options: cl.DecorrelatedBatchNorm(
            6, 2, kind=kind, **options
        )
        for kind in KINDS
    },
    "DecorrelatedBatchNorm smith": lambda **options: cl.DecorrelatedBatchNorm(
        6, shrinkage=0.1, method="polar_express", backward="smith", **options
    ),
    "DecorrelatedBatchNorm published": lambda **options: cl.DecorrelatedBatchNorm(
        6, method=F.Pade(5), backward=F.Lyapunov(8), **options
    ),
    "IterNorm": lambda **options: cl.IterNorm(6, 2, **options),
    "PCANorm": lambda **options: cl.PCANorm(6, 2, **options),
    "PCANorm power iteration": lambda **options: cl.PCANorm(
        6, 2, backward="power_iteration", **options
    ),
    "SwitchableWhitening": lambda **options: cl.SwitchableWhitening(
        6, 2, statistics=("bw", "iw", "bn", "in", "ln"), **options
    ),
}
NORMS = BATCH_NORMS | {"GroupWhitening": lambda **options: cl.GroupWhitening(6, 3, **options)}
POOLS: dict[str, Callable[..., nn.Module]] = {
    **{
        pool.__name__: lambda pool=pool, **options: pool(6, **options)
        for pool in (
            cl.CovPool,
            cl.MPNCovPool,
            cl.ISQRTCovPool,
            cl.MTPCovPool,
            cl.MPACovPool,
        )
    },
    "CovPool reduced": lambda **options: cl.CovPool(6, 4, **options),
    "MPACovPool reduced": lambda **options: cl.MPACovPool(
        6, 4, vectorize="isometric", eps=1e-3, **options
    ),
    "CovPool full": lambda **options: cl.CovPool(6, vectorize="full", shrinkage=0.1, **options),
    "CovPool log": lambda **options: cl.CovPool(
        6, function="log", vectorize="isometric", eps=1e-2, **options
    ),
    "CovPool power": lambda **options: cl.CovPool(6, function=0.3, **options),
    "CovPool Gaussian": lambda **options: cl.CovPool(6, mean_weight=0.5, **options),
    "CovPool svPN": lambda **options: cl.CovPool(6, function=cl.SVPowerNorm(), **options),
    "CrossCovPool": lambda **options: cl.CrossCovPool(6, (4, 3), 2, **options),
    "CrossCovPool learnt": lambda **options: cl.CrossCovPool(
        6,
        4,
        norm=cl.SVPowerNorm(4, learnable=True, num_values=2, iterations=2, **options),
        **options,
    ),
    "CrossCovPool exact": lambda **options: cl.CrossCovPool(
        6, (4, 2), norm=cl.SVPowerNorm(num_values=None), **options
    ),
}
ATTENTION: dict[str, Callable[..., nn.Module]] = {
    "CovAttention": lambda **options: cl.CovAttention(6, 4, grid_size=3, **options),
    "CovAttention channel": lambda **options: cl.CovAttention(6, 4, position=False, **options),
    "CovAttention position": lambda **options: cl.CovAttention(
        6, 4, channel=False, grid_size=3, **options
    ),
}
HEADS: dict[str, Callable[..., nn.Module]] = {
    **{
        f"SecondOrderHead {fusion}": lambda fusion=fusion, **options: cl.SecondOrderHead(
            6, 3, fusion=fusion, **options
        )
        for fusion in ("sum", "concat", "late", "visual_only")
    },
    "SecondOrderHead without class token": lambda **options: cl.SecondOrderHead(
        6, 3, pool=cl.CrossCovPool, fusion="visual_only", class_token=False, **options
    ),
}
TEMPORAL: dict[str, Callable[..., nn.Module]] = {
    f"AttentiveTemporalCovPool {level}": lambda level=level, **options: cl.AttentiveTemporalCovPool(
        6, 4, attention_channels=5, reduced_channels=4, level=level, **options
    )
    for level in ("video", "frame")
} | {
    "TCPCovPool": lambda **options: cl.TCPCovPool(
        6, 4, attention_channels=5, reduced_channels=4, **options
    ),
    "TemporalSpatialAttention": lambda **options: cl.TemporalSpatialAttention(6, **options),
    "TemporalChannelAttention": lambda **options: cl.TemporalChannelAttention(6, **options),
    "TemporalConv": lambda **options: cl.TemporalConv(6, 4, **options),
}


class Halves(nn.Module):
    """Transfers the style of one half of a batch to the other."""

    def __init__(self, transfer: nn.Module) -> None:
        super().__init__()
        self.transfer = transfer

    def forward(self, x: Tensor) -> Tensor:
        return self.transfer(*x.tensor_split(2))


STYLE: dict[str, Callable[..., nn.Module]] = {
    "WhiteningColoring": lambda **options: Halves(cl.WhiteningColoring(0.7)),
    "WhiteningColoring smith": lambda **options: Halves(
        cl.WhiteningColoring(num_groups=2, method="polar_express", backward="smith")
    ),
    "WhiteningColoring shrunk": lambda **options: Halves(
        cl.WhiteningColoring(eps=0.0, shrinkage=0.2)
    ),
    "GroupWhiteningColoring": lambda **options: Halves(cl.GroupWhiteningColoring(3, **options)),
    "AdaIN": lambda **options: Halves(cl.AdaIN()),
}
MAPS = NORMS | POOLS | ATTENTION | STYLE
MODULES = MAPS | HEADS | TEMPORAL


def sample(name: str, *batch: int, seed: int = 0) -> Tensor:
    """What the module of that name takes: maps, tokens ``(N, L, D)`` or clips of three frames."""
    N = batch[0] if batch else 16
    if name in HEADS:
        return features(N, seed=seed).flatten(2).mT.contiguous()
    if name in TEMPORAL:
        return features(3 * N, seed=seed).unflatten(0, (N, 3))
    return features(N, seed=seed)


def features(*batch: int, seed: int = 0) -> Tensor:
    """Correlated features with a mean, ``(16, 6, 5, 4)`` unless told."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*(batch or (16,)), 6, 5, 4, generator=generator)
    mix = torch.randn(6, 6, generator=generator) + 2 * torch.eye(6)
    return torch.einsum("dc,nchw->ndhw", mix, x) + torch.arange(6.0)[:, None, None]


def waves(y: Tensor) -> Tensor:
    """A weight for each entry of ``y``, all different."""
    return torch.sin(torch.arange(y.numel(), dtype=torch.float64)).view(y.shape).to(y)


def weighted(y: Tensor) -> Tensor:
    """A loss in which every output counts differently."""
    return (y * waves(y)).sum()


def gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """The gradients of the input and of the parameters."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    return list(torch.autograd.grad(weighted(module(x)), [x, *module.parameters()]))


def unlike_at_first(module: nn.Module) -> nn.Module:
    """The module with nothing left at its start, running averages of torch's layers included."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.running_mean, -0.5, 0.5)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return module


def trained(name: str, **options: object) -> nn.Module:
    """A module whose buffers and parameters differ from the start."""
    module = MODULES[name](**options)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() < 2:
                parameter.uniform_(0.5, 1.5)
            else:  # its rows stay of the scale that suits its inputs
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    for seed in (1, 2):
        module(sample(name, seed=seed).to(next(module.parameters(), torch.ones(())).dtype))
    return module
