"""Mean and covariance over weighted positions, fit to be inverted however few these are."""

from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional.checks import check_choice, check_number
from covlayers.functional.covariance import covariance, cross_covariance
from covlayers.functional.linalg import identity_like, trace

Shrinkage = float | str | None
"""A weight in [0, 1], ``"auto"``, or None for none."""

ROUNDING = 64
"""A deviation of fewer roundings of the mean than this is no signal."""


class Moments(NamedTuple):
    """The first two moments of features."""

    mean: Tensor  # (*, C)
    cov: Tensor  # (*, C, C)


def check_shrinkage(shrinkage: Shrinkage) -> None:
    """A weight, ``"auto"`` or None."""
    if isinstance(shrinkage, str):
        check_choice("shrinkage", shrinkage, ("auto",))
    elif shrinkage is not None:
        check_number("shrinkage", shrinkage, 0, 1)


def weighted_moments(
    x: Tensor, weights: Tensor | None, eps: float, shrinkage: Shrinkage
) -> Moments:
    r"""Mean :math:`\mu` and regularised covariance of features.

    .. math:: \mu = \sum_i p_i x_i, \qquad \Sigma = \sum_i p_i (x_i - \mu)(x_i - \mu)^\top, \qquad
              A = (1 - s)\, \Sigma + \bigl( (s + \varepsilon) \tfrac{\operatorname{tr} \Sigma}{C}
              + \delta \bigr) I

    with :math:`p_i` the share of position :math:`i`, and :math:`\delta` the square of what the
    rounding of :math:`\mu` may look like, which keeps constant features from being whitened into
    noise.

    Args:
        x: features ``(*, C, M)``.
        weights: those of the positions, ``(*, M)``, at least 0; None for equal ones. Where all are
            zero, so is the covariance.
        eps: :math:`\varepsilon`, in units of the mean eigenvalue.
        shrinkage: :math:`s`.
    """
    first = x[..., :1].detach()  # about it, features without variation have a mean without error
    if weights is None:
        mean = first.squeeze(-1) + (x - first).mean(-1)
        cov = covariance(x)
        positions = x.new_tensor(float(x.shape[-1]))
    else:
        total = weights.sum(-1, keepdim=True)
        p = weights / torch.where(total > 0, total, 1)
        mean = first.squeeze(-1) + ((x - first) * p.unsqueeze(-2)).sum(-1)
        centered = x - mean.unsqueeze(-1)
        scaled = centered * (x.shape[-1] * p).unsqueeze(-2)
        cov = cross_covariance(scaled, centered, center=False)
        positions = 1 / torch.where(total > 0, p, 1).square().sum(-1)
    s = _intensity(cov, positions[..., None, None], shrinkage)
    noise = (ROUNDING * torch.finfo(x.dtype).eps) ** 2 * mean.detach().square().mean(-1)
    diagonal = (s + eps) * trace(cov) / x.shape[-2] + noise[..., None, None]
    return Moments(mean, (1 - s) * cov + diagonal * identity_like(cov))


def _intensity(cov: Tensor, positions: Tensor, shrinkage: Shrinkage) -> Tensor | float:
    r"""The weight :math:`s` of the identity.

    With ``"auto"``, and no more positions :math:`n` than channels, so that the covariance is
    singular, that of the oracle approximating shrinkage (OAS) :cite:p:`chen2010shrinkage`:

    .. math:: s = \min\Bigl( 1, \frac{(1 - 2/C) \operatorname{tr} \Sigma^2
              + (\operatorname{tr} \Sigma)^2}{(n + 1 - 2/C) (\operatorname{tr} \Sigma^2
              - (\operatorname{tr} \Sigma)^2 / C)} \Bigr)

    Of unequal weights :math:`n = (\sum w)^2 / \sum w^2`.
    """
    if shrinkage != "auto":
        return float(shrinkage or 0)
    C = cov.shape[-1]
    square, squares = trace(cov).square(), cov.square().sum((-2, -1), keepdim=True)
    spread = (positions + 1 - 2 / C) * (squares - square / C)
    s = ((1 - 2 / C) * squares + square) / torch.where(spread > 0, spread, 1)
    s = torch.where(spread > 0, s.clamp(max=1), 1)
    return torch.where(positions > C, 0, s)
