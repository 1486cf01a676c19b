"""Mean and covariance over weighted positions, fit to be inverted however few these are."""

from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_choice, check_number
from covlayers.functional._base.linalg import identity_like, trace
from covlayers.functional.centered_product import centered_product

Shrinkage = float | str | None
"""A weight in [0, 1], ``"auto"``, or None for none."""

ROUNDING = 64
"""A deviation of no more roundings of the mean than this is no variation."""


class Moments(NamedTuple):
    """The first two moments of features in groups of channels."""

    mean: Tensor  # (*, G, c)
    cov: Tensor  # (*, G, c, c)
    varies: Tensor  # (*, 1, 1, 1), whether there is any variation


def check_shrinkage(shrinkage: Shrinkage) -> None:
    """A weight, ``"auto"`` or None."""
    if isinstance(shrinkage, str):
        check_choice("shrinkage", shrinkage, ("auto",))
    elif shrinkage is not None:
        check_number("shrinkage", shrinkage, 0, 1)


def weighted_moments(
    x: Tensor, weights: Tensor | None, eps: float, shrinkage: Shrinkage
) -> Moments:
    r"""Mean :math:`\mu` and regularised covariance of features, for each of :math:`G` groups.

    .. math:: \mu = \sum_i p_i x_i, \qquad \Sigma = \sum_i p_i (x_i - \mu)(x_i - \mu)^\top, \qquad
              A = (1 - s)\, \Sigma + \bigl( s\, \tfrac1c \operatorname{tr} \Sigma
              + \varepsilon\, \bar\lambda \bigr) I

    with :math:`p_i` the share of position :math:`i`, and :math:`\bar\lambda` the mean eigenvalue of
    all groups. Where only rounding varies, :math:`A` is the identity.

    Args:
        x: features ``(*, G, c, M)``.
        weights: one for each position, ``(*, 1, M)``, at least 0; None for equal ones. Features of
            weight zero do not count, whatever they are.
        eps: :math:`\varepsilon`.
        shrinkage: :math:`s`.
    """
    positions: int | Tensor
    mean, cov, positions = _moments(x) if weights is None else _weighted(x, weights)
    own = trace(cov) / x.shape[-2]
    scale = own.mean(-3, keepdim=True)
    noise = (ROUNDING * torch.finfo(x.dtype).eps) ** 2 * mean.square().mean((-2, -1))
    varies = ~(scale <= noise[..., None, None, None])  # what is not finite stays so
    s = _intensity(cov, positions, shrinkage)
    identity = identity_like(cov)
    regular = (1 - s) * cov + (s * own + eps * scale) * identity
    return Moments(mean, torch.where(varies, regular, identity), varies)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Mean and covariance over all positions, and their number."""
    first = x[..., :1].detach()  # about it, features that do not vary have a mean without error
    mean = first.squeeze(-1) + (x - first).mean(-1)
    return mean, centered_product(x, None), x.shape[-1]


def _weighted(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and covariance over weighted positions, and how many equal weights spread as little."""
    total = weights.sum(-1, keepdim=True)
    p = (weights / torch.where(total > 0, total, 1)).unsqueeze(-2)
    first = torch.take_along_dim(x, p.argmax(-1, keepdim=True), -1).detach()
    x = torch.where(p > 0, x, first)
    mean = first + ((x - first) * p).sum(-1, keepdim=True)
    centered = x - mean
    cov = centered_product(centered * (x.shape[-1] * p), centered, center=False)
    return mean.squeeze(-1), cov, 1 / torch.where(total > 0, p.squeeze(-2), 1).square().sum(-1)


def _intensity(cov: Tensor, positions: int | Tensor, shrinkage: Shrinkage) -> Tensor | float:
    """The weight of the identity; with ``"auto"`` none where positions outnumber the channels."""
    if shrinkage != "auto":
        return float(shrinkage or 0)
    if isinstance(positions, Tensor):
        positions = positions[..., None, None]
        return torch.where(positions > cov.shape[-1], 0, _oracle_approximating(cov, positions))
    return 0.0 if positions > cov.shape[-1] else _oracle_approximating(cov, positions)


def _oracle_approximating(cov: Tensor, positions: int | Tensor) -> Tensor:
    r"""The weight of oracle approximating shrinkage (OAS) :cite:p:`chen2010shrinkage`.

    .. math:: s = \min\Bigl( 1, \frac{(1 - 2/C) \operatorname{tr} \Sigma^2
              + (\operatorname{tr} \Sigma)^2}{(n + 1 - 2/C) (\operatorname{tr} \Sigma^2
              - (\operatorname{tr} \Sigma)^2 / C)} \Bigr)

    for :math:`n` positions, :math:`(\sum w)^2 / \sum w^2` of them where weights differ.
    """
    C = cov.shape[-1]
    square, squares = trace(cov).square(), cov.square().sum((-2, -1), keepdim=True)
    spread = (positions + 1 - 2 / C) * (squares - square / C)
    s = ((1 - 2 / C) * squares + square) / torch.where(spread > 0, spread, 1)
    return torch.where(spread > 0, s.clamp(max=1), 1)
