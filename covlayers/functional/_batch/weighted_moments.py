"""Mean and covariance over weighted positions, fit to be inverted however few these are."""

from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_choice, check_number
from covlayers.functional._base.linalg import identity_like, trace
from covlayers.functional.centered_product import centered, centered_product

Shrinkage = float | str | None
"""A weight in [0, 1], ``"auto"``, or None for none."""

ROUNDING = 64
"""A deviation of no more roundings of the mean than this is no variation."""


class Scales(NamedTuple):
    r"""What makes of a covariance :math:`\Sigma` the regularised :math:`\alpha \Sigma + b I`."""

    share: Tensor  # α, (*, G, 1), 0 where nothing varies
    base: Tensor  # b, (*, G, 1), 1 where nothing varies
    varies: Tensor  # (*, 1, 1, 1), whether there is any variation


class Moments(NamedTuple):
    """The first two moments of features in groups of channels."""

    mean: Tensor  # (*, G, c)
    cov: Tensor  # (*, G, c, c)
    varies: Tensor  # (*, 1, 1, 1)


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
    if weights is None:
        mean, cov, positions = _mean(x), centered_product(x, None), x.shape[-1]
    else:
        mean, cov, positions = _weighted(x, weights)
    share, base, varies = _scales(mean, cov, x.shape[-2], positions, eps, shrinkage)
    regular = share.unsqueeze(-1) * cov + base.unsqueeze(-1) * identity_like(cov)
    return Moments(mean, regular, varies)


def moments_by_positions(x: Tensor, eps: float, shrinkage: Shrinkage) -> tuple[Tensor, Scales]:
    """The mean, and the scales of the same covariance, of which only ``M x M`` is formed."""
    z, M = centered(x, True), x.shape[-1]
    mean = _mean(x)
    return mean, _scales(mean, z.mT @ z / M, x.shape[-2], M, eps, shrinkage)


def _mean(x: Tensor) -> Tensor:
    first = x[..., :1].detach()  # about it, features that do not vary have a mean without error
    return first.squeeze(-1) + (x - first).mean(-1)


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


def _scales(
    mean: Tensor, cov: Tensor, c: int, positions: int | Tensor, eps: float, shrinkage: Shrinkage
) -> Scales:
    """From the covariance of ``c`` channels, or a matrix of its nonzero eigenvalues."""
    own = trace(cov).squeeze(-1) / c
    scale = own.mean(-2, keepdim=True)
    noise = (ROUNDING * torch.finfo(cov.dtype).eps) ** 2 * mean.square().mean((-2, -1))
    varies = ~(scale <= noise[..., None, None])  # what is not finite stays so
    s = _intensity(cov, c, positions, shrinkage)
    share = torch.where(varies, torch.ones_like(own) - s, 0)
    return Scales(share, torch.where(varies, s * own + eps * scale, 1), varies.unsqueeze(-1))


def _intensity(
    cov: Tensor, c: int, positions: int | Tensor, shrinkage: Shrinkage
) -> Tensor | float:
    """The weight of the identity; with ``"auto"`` none where positions outnumber the channels."""
    if shrinkage != "auto":
        return float(shrinkage or 0)
    if isinstance(positions, Tensor):
        positions = positions[..., None]
        return torch.where(positions > c, 0, _oracle_approximating(cov, c, positions))
    return 0.0 if positions > c else _oracle_approximating(cov, c, positions)


def _oracle_approximating(cov: Tensor, c: int, positions: int | Tensor) -> Tensor:
    r"""The weight of oracle approximating shrinkage (OAS) :cite:p:`chen2010shrinkage`.

    .. math:: s = \min\Bigl( 1, \frac{(1 - 2/c) \operatorname{tr} \Sigma^2
              + (\operatorname{tr} \Sigma)^2}{(n + 1 - 2/c) (\operatorname{tr} \Sigma^2
              - (\operatorname{tr} \Sigma)^2 / c)} \Bigr)

    for :math:`n` positions, :math:`(\sum w)^2 / \sum w^2` of them where weights differ.
    """
    square = trace(cov).squeeze(-1).square()
    squares = cov.square().sum((-2, -1)).unsqueeze(-1)
    spread = (positions + 1 - 2 / c) * (squares - square / c)
    s = ((1 - 2 / c) * squares + square) / torch.where(spread > 0, spread, 1)
    return torch.where(spread > 0, s.clamp(max=1), 1)
