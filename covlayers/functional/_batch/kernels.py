"""The passes over a batch by kernels, for a GPU."""

from typing import NamedTuple

from torch import Tensor

from covlayers.functional._base.linalg import regularized
from covlayers.functional._batch.affine import affine
from covlayers.functional._batch.collective import joint_moments
from covlayers.functional._batch.gradient import batch_gradient_sums, features_gradient
from covlayers.functional._batch.products import Statistics
from covlayers.functional._batch.statistics import batch_statistics


class Kernels(NamedTuple):
    """The passes of :class:`~.products.Products`; what they hand on is the batch itself."""

    num_groups: int

    def statistics(
        self, x: Tensor, eps: float, shrinkage: float | None, group: str | None
    ) -> tuple[Tensor, Tensor, Statistics]:
        """``x``, its regularised covariance and its statistics."""
        n = x.numel() // x.shape[1]
        mean, cov, A = batch_statistics(x, self.num_groups, eps, shrinkage)
        if group is None:
            return x, A, (mean, cov, n)
        rows = mean.view(cov.shape[:2])
        count, joint, cov = joint_moments(mean.new_full((), n), rows, n * cov, group)
        return x, regularized(cov, eps, shrinkage), (joint.flatten(), cov, count)

    def given(self, x: Tensor, mean: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
        """``x`` and ``W`` themselves: a kernel reads them beside the mean."""
        return x, W

    def transform(
        self, x: Tensor, mean: Tensor, W: Tensor, weight: Tensor | None, bias: Tensor | None
    ) -> Tensor:
        """The output."""
        vectors = dense(mean), dense(weight), dense(bias)
        y: Tensor = affine(x, W.contiguous(), *vectors)
        return y

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
        known = dense(mean), W.contiguous(), dense(weight)
        sums = batch_gradient_sums(grad, x, *known, symmetric)
        return (grad, x), *sums

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
        known = W.contiguous(), dense(weight), dense(mean), dense(gsum), gcov.contiguous()
        gx: Tensor = features_gradient(*factors, *known, share)
        return gx


def dense(vector: Tensor | None) -> Tensor | None:
    """One whose numbers are neighbours, as the kernels read it; a scale may be expanded."""
    return None if vector is None else vector.contiguous()
