"""Whitening-coloring: features with the mean and covariance of others."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_number
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import (
    check_broadcast,
    check_positions,
    check_same,
    check_shape,
    check_tensor,
    full_precision,
)
from covlayers.functional._batch.weighted_moments import (
    Shrinkage,
    check_shrinkage,
    moments_by_positions,
    weighted_moments,
)
from covlayers.functional.by_positions import Wanted, by_positions
from covlayers.functional.centered_product import few_positions
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.covariance_functions import cell_of_few_positions
from covlayers.functional.functions import INVSQRT, ROOTS, SQRT
from covlayers.functional.matrix_functions import applied, check_cell
from covlayers.functional.rule import Backward


class Target(NamedTuple):
    """What features are coloured to: a mean, and the root of a covariance."""

    mean: Tensor  # (*, G, c)
    root: Tensor  # (*, G, c, c)


@dataclass(frozen=True)
class WhitenColor:
    """The options of whitening-coloring, and its two halves, for features in groups of channels."""

    eps: float
    shrinkage: Shrinkage
    method: Method
    backward: Backward | None

    def target(self, style: Tensor, weights: Tensor | None = None) -> Target:
        """The mean and root of a style ``(*, G, c, M)`` over weighted positions."""
        mean, root, varies = self._of_covariance(SQRT, style, weights)
        return Target(mean, torch.where(varies, root, 0))

    def transform(self, content: Tensor, target: Target, weights: Tensor | None = None) -> Tensor:
        """The content ``(*, G, c, M)`` with moments of the target over its weighted positions."""
        mean, W, varies = self._of_covariance(INVSQRT, content, weights)
        T = torch.where(varies, target.root @ W, 0)  # one product with the features instead of two
        return T @ (content - mean.unsqueeze(-1)) + target.mean.unsqueeze(-1)

    def _of_covariance(
        self, fn: MatrixFunction, x: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The mean of ``x``, the function of its covariance, and whether it varies."""
        cell = cell_of_few_positions(fn, self.method, self.backward, "auto")
        if cell is None or weights is not None or not few_positions(x, "auto"):
            mean, cov, varies = weighted_moments(x, weights, self.eps, self.shrinkage)
            return mean, applied(fn, self.method, self.backward)(cov), varies
        mean, (share, base, varies) = moments_by_positions(x, self.eps, self.shrinkage)
        return mean, by_positions(x, share, base, Wanted(cell)), varies


@full_precision
def whiten_color(
    content: Tensor,
    style: Tensor,
    *,
    alpha: float = 1.0,
    eps: float = 1e-5,
    shrinkage: float | str | None = "auto",
    method: str | Method = "auto",
    backward: str | Backward | None = None,
) -> Tensor:
    r"""Give content features the mean and covariance of style features.

    .. math:: y &= \alpha \bigl( A_s^{1/2} A_c^{-1/2} (x - \mu_c) + \mu_s \bigr)
              + (1 - \alpha)\, x,

              A &= (1 - s)\, \Sigma + (s + \varepsilon) \tfrac{\operatorname{tr} \Sigma}{C} I

    Content and style with equal moments give back the content, and so does ``alpha=0``. Where
    the content or the style varies by rounding only, the result is the mean of the style. With few
    positions a root is taken on their side, as by :func:`covariance_function`.

    Args:
        content: features :math:`x` to transform.
        style: features to resemble, at any number of positions.
        alpha: strength in [0, 1].
        eps: :math:`\varepsilon \ge 0`, added to the diagonal of both covariances, in units of their
            mean eigenvalue: whatever the scale of the features, no eigenvalue counts as smaller.
        shrinkage: :math:`s`, the weight of the scaled identity in [0, 1]; None for none; ``"auto"``
            for none where there are more positions than channels and, where the covariance is
            singular for want of positions, the oracle approximating shrinkage
            :cite:p:`chen2010shrinkage`.
        method: how to compute the roots, as for :func:`sqrtm`.
        backward: how to differentiate them, as for :func:`sqrtm`.

    Shape:
        - content: :math:`(*, C, M)`
        - style: :math:`(*, C, M')`, its batch broadcast to the content's
        - Output: :math:`(*, C, M)`

    Raises:
        InvalidValueError: if the channels or devices differ, the batches do not broadcast, there
            are fewer than two positions, or an option is out of range.
        InvalidTypeError: if a dtype is wrong or they differ.

    Example:
        >>> content, style = torch.randn(3, 100), 2 * torch.randn(3, 50) + 1
        >>> y = whiten_color(content, style)
        >>> torch.allclose(covariance(y), covariance(style), rtol=1e-3, atol=1e-3)
        True

    Reference:
        :cite:t:`li2017universal`.
    """
    check_tensor("content", content, 2)
    check_style("style", style, content)
    check_positions("content", content, 2)
    check_number("alpha", alpha, 0, 1)
    check_number("eps", eps, 0)
    check_shrinkage(shrinkage)
    way = WhitenColor(eps, shrinkage, *check_cell(ROOTS, method, backward))
    one_group = way.transform(content.unsqueeze(-3), way.target(style.unsqueeze(-3)))
    return torch.lerp(content, one_group.squeeze(-3), alpha)


def check_style(name: str, style: Tensor, content: Tensor) -> None:
    """Features ``(*, C, M')`` with the channels of the content, and two positions or more."""
    check_tensor(name, style, 2)
    check_same("content", content, name, style)
    channels = content.shape[-2]
    check_shape(name, style, (channels, style.shape[-1]), "with the channels of content")
    check_broadcast("content", content, name, style)
    if torch.broadcast_shapes(content.shape[:-2], style.shape[:-2]) != content.shape[:-2]:
        raise InvalidValueError(
            f"{name} must have a batch that broadcasts to the batch of content, "
            f"{tuple(content.shape[:-2])}, got {tuple(style.shape[:-2])}."
        )
    check_positions(name, style, 2)
