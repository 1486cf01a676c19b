"""The passes over a batch as products of matrices, for any device and dtype."""

from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from covlayers.functional._base.linalg import cast, regularized
from covlayers.functional._base.tensors import full
from covlayers.functional._batch.collective import joint_moments
from covlayers.functional._batch.memory_layout import Layout, Order

FEW = 64  # positions whose mean one call gives to two roundings; more positions would add to them

Statistics: TypeAlias = tuple[Tensor, Tensor, int | Tensor]
"""Mean ``(C,)``, covariance ``(G, c, c)`` and number of positions, over all processes."""


@dataclass
class Products:
    """The passes over a batch of this layout; what they hand on are matrices ``(K, c, M)``."""

    layout: Layout
    V: Tensor = field(init=False)  # the matrices with the scale in them, of the last transform

    def statistics(
        self, x: Tensor, eps: float, shrinkage: float | None, group: str | None
    ) -> tuple[Tensor, Tensor, Statistics]:
        """``x`` about its mean, its regularised covariance and its statistics."""
        x, layout = full(x), self.layout
        n = layout.N * layout.M
        if layout.order is Order.JOINED and 0 < n <= FEW:
            z = layout.joined(x)
            column = z.sum(-1, keepdim=True).div_(n)
            z, mean = z.sub_(column), column.flatten()
        else:
            mean = mean_of_sums(x)
            column = layout.column(mean, mean.dtype)
            z = layout.centered(x, column)
        scatter = layout.total(gram(z))
        if group is None:
            cov = scatter.div_(max(n, 1))
            return z, regularized(cov, eps, shrinkage), (mean, cov, n)
        count, joint, cov = joint_moments(x.new_full((), n), column.squeeze(-1), scatter, group)
        z = z + layout.each(column - joint.unsqueeze(-1))
        return z, regularized(cov, eps, shrinkage), (joint.flatten(), cov, count)

    def given(self, x: Tensor, mean: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` about a given mean ``(C,)`` and given matrices ``W``, as a transform takes them."""
        x = full(x)
        return self.layout.centered(x, self.layout.column(mean, x.dtype)), cast(W, x.dtype)

    def transform(
        self, z: Tensor, mean: Tensor, W: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        """The output."""
        layout = self.layout
        self.V = W if weight is None else layout.column(weight, W.dtype) * W
        shift = None if bias is None else layout.column(bias, W.dtype)
        return layout.merge(layout.affine(self.V, z, shift))

    def gradient_sums(
        self,
        grad: Tensor,
        x: Tensor,
        mean: Tensor,
        W: Tensor,
        weight: Tensor | None,
        symmetric: bool,
    ) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor | None, Tensor]:
        """What the next pass reads, and this process's sums: of ``grad``, for scale and ``W``.

        If ``symmetric``, the last with its transpose added.
        """
        layout = self.layout
        g, z = layout.split(full(grad)), layout.centered(full(x), layout.column(mean, W.dtype))
        gV = layout.total(g.bmm(z.mT))
        gsum = layout.total(g.sum(-1, keepdim=True)).reshape(-1)
        gweight = None if weight is None else (gV * W).sum(-1).reshape(-1)
        gW = gV if weight is None else layout.column(weight, W.dtype) * gV
        return (g, z), gsum, gweight, gW + gW.mT if symmetric else gW

    def gradient(
        self,
        factors: tuple[Tensor, Tensor],
        mean: Tensor,
        W: Tensor,
        weight: Tensor | None,
        gsum: Tensor,
        gcov: Tensor,
        share: float,
    ) -> Tensor:
        """The gradient for ``x``, from twice the covariance's and the ``share`` of a position."""
        g, z = factors
        Vt = self.V.mT
        gz = self.layout.affine(Vt, g, Vt.bmm(self.layout.column(gsum, g.dtype)), -share)
        return self.layout.merge(self.layout.add_product(gz, gcov, z, share))


def mean_of_sums(x: Tensor) -> Tensor:
    """The mean ``(C,)`` of ``x (N, C, *)``, nearly rounded once: samples add up in float64."""
    wide = x.dtype if x.device.type == "mps" else torch.float64  # which MPS has not
    positions = tuple(range(2, x.dim()))
    sums = x.sum(positions) if positions else x
    n = max(x.numel() // max(x.shape[1], 1), 1)
    return (sums.sum(0, dtype=wide) / n).to(x.dtype)


def gram(z: Tensor) -> Tensor:
    """``z zᵀ``; of long rows on a CPU three blocks of four, as the fourth is one transposed."""
    n, M = z.shape[-2:]
    if z.device.type != "cpu" or n < 32 or 4 * n > M:
        return z.bmm(z.mT)
    above, below = z.tensor_split(2, -2)
    top, corner = above @ z.mT, below @ below.mT
    return torch.cat([top, torch.cat([top[..., above.shape[-2] :].mT, corner], -1)], -2)
