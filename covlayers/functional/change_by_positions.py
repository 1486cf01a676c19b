r"""How a function of :math:`A = \alpha X X^\top + b I` changes with few positions.

In the eigenbasis the derivative of :math:`f` is :math:`G \mapsto L \circ G`. Of :math:`L` only what
concerns a direction of the features is read: its row :math:`\ell` for a direction without features,
and the differences from it. With the :math:`U` and :math:`Q` of
:mod:`~covlayers.functional.by_positions`, and :math:`\Lambda` the squared lengths of :math:`X Q`,

.. math:: g_X = 2 \alpha \bigl( G\, U \operatorname{diag}(\ell) + U (D \circ U^\top G\, U) \bigr)\,
          \Lambda^{1/2} Q^\top, \qquad D_{ij} = L_{ij} - \ell_j .

A direction that is rounding alone has :math:`D_{ij} \approx 0`, and no quotient is formed: nothing
small is resolved beside something large. With :math:`g_A` the gradient for :math:`A`,

.. math:: g_\alpha = \sum_i \lambda_i\, u_i^\top g_A u_i, \qquad g_b = \operatorname{tr} g_A .

:math:`L` may depend on a norm of :math:`A`, which adds a diagonal to :math:`g_A`.
"""

import torch
from torch import Tensor

from covlayers.functional._base.linalg import trace
from covlayers.functional.factored import Derivative, FactorSpectrum

ROUNDINGS = 24
"""A column of ``X Q`` of no more roundings of the longest is no direction. Below 1 was measured in
float32, whose ``Q`` is found in float64, and up to 16 where it is not, with 16 to 1024 channels."""


def directions(z: Tensor, Q: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """The columns of ``z Q`` at length one or zero, ``(*, C, M)``, and their lengths ``(*, M)``.

    ``size``, ``(*, 1)`` and not zero, is about the largest length, so that no square overflows.
    """
    W = z @ (Q / size.unsqueeze(-1))
    lengths = W.square().sum(-2, keepdim=True).sqrt()  # a fifth of the time of vector_norm
    rounding = ROUNDINGS * torch.finfo(W.dtype).eps * lengths.amax(-1, keepdim=True)
    lengths = lengths.where(~(lengths <= rounding), 0.0)  # NaN stays
    return W * torch.where(lengths == 0, 0.0, 1 / lengths), lengths.squeeze(-2) * size


def gradients(
    G: Tensor,
    U: Tensor,
    lengths: Tensor,
    share: float | Tensor,
    spectrum: FactorSpectrum,
    derivative: Derivative,
    also: tuple[bool, bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    r"""The gradients for :math:`X Q`, :math:`\alpha` and :math:`b`.

    Args:
        G: the gradient for :math:`f(A)`, symmetric, ``(*, C, C)``.
        U: the directions ``(*, C, M)``.
        lengths: of the columns of :math:`X Q`, ``(*, M)``.
        share: :math:`\alpha`, a number or ``(*, 1)``.
        spectrum: of :math:`A`.
        derivative: of :math:`f` on it.
        also: whether the gradients for :math:`\alpha` and :math:`b` are wanted, ``(*, 1)`` each.
    """
    L, norm = derivative
    absent = lengths == 0  # what is no direction may have no finite slope
    apart = absent.unsqueeze(-2)
    row = L[..., :1, 1:].masked_fill(apart, 0.0)
    D = (L[..., 1:, 1:] - row).masked_fill(apart | apart.mT, 0.0)
    P = (U.mT @ G).mT  # as G is symmetric; it costs less than G U
    inner = U.mT @ P
    gU = P.mul_(row).add_(U @ (D * inner))
    own = inner.diagonal(dim1=-2, dim2=-1)

    def total(of_each: Tensor) -> Tensor:  # the sum of of_each_k G_kk over the eigenbasis
        more = (of_each[..., 1:] - of_each[..., :1]).masked_fill(absent, 0.0)
        return (own * more).sum(-1, keepdim=True) + of_each[..., :1] * trace(G).squeeze(-1)

    diagonal = L.diagonal(dim1=-2, dim2=-1)
    by_norm: float | Tensor = 0.0
    slopes = torch.zeros_like(diagonal) if norm is None else norm.slopes
    if norm is not None:
        by_norm = total(norm.weights)
        gU.add_(U * (by_norm * slopes[..., 1:]).unsqueeze(-2))
    gshare = gbase = None
    if also[0]:
        of_each = own * diagonal[..., 1:] + by_norm * slopes[..., 1:]
        gshare = (of_each.masked_fill(absent, 0.0) * lengths.square()).sum(-1, keepdim=True)
    if also[1]:
        gbase = total(diagonal) + by_norm * spectrum.total(slopes)
    factor = 2 * share * lengths
    return gU.mul_(factor.unsqueeze(-2)), gshare, gbase
