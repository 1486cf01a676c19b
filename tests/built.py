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
}
MODULES = NORMS | POOLS


def features(*batch: int, seed: int = 0) -> Tensor:
    """Correlated features with a mean, ``(16, 6, 5, 4)`` unless told."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*(batch or (16,)), 6, 5, 4, generator=generator)
    mix = torch.randn(6, 6, generator=generator) + 2 * torch.eye(6)
    return torch.einsum("dc,nchw->ndhw", mix, x) + torch.arange(6.0)[:, None, None]
