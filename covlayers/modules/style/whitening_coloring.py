"""Layers that give content features the statistics of style features."""

from collections.abc import Sequence
from typing import TypedDict

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_count, check_number
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.tensors import no_autocast
from covlayers.functional._batch.memory_layout import like_format
from covlayers.functional._batch.weighted_moments import check_shrinkage
from covlayers.functional.core import Method
from covlayers.functional.functions import ROOTS
from covlayers.functional.matrix_functions import check_cell
from covlayers.functional.rule import Backward
from covlayers.functional.whitening_coloring import Target, WhitenColor
from covlayers.modules._ranges import HasAlpha
from covlayers.modules.style._inputs import Region, check_features, grouped, mixture, regions


class WhiteningColoringOptions(TypedDict, total=False):
    """The options that a variant passes on to :class:`WhiteningColoring`."""

    eps: float
    shrinkage: float | str | None
    method: str | Method
    backward: str | Backward | None


class WhiteningColoring(HasAlpha):
    r"""Whitening-coloring: features of the content take the mean and covariance of the style.

    The layer whitens the content by its covariance :math:`\Sigma_c` and colours it with the
    covariance :math:`\Sigma_s` of the style,

    .. math:: y &= \alpha \bigl( A_s^{1/2} A_c^{-1/2} (x - \mu_c) + \mu_s \bigr)
              + (1 - \alpha)\, x,

              A &= (1 - s)\, \Sigma + \bigl( s\, \tfrac1c \operatorname{tr} \Sigma
              + \varepsilon\, \bar\lambda \bigr) I,

    for each sample, within each group of :math:`c` channels; :math:`\bar\lambda` is the mean
    eigenvalue of all groups. Where content and style have equal moments, the result is the content.
    Where the content, the style or a region does not vary by more than rounding, the result is the
    mean of the style, a flat colour, and no gradient reaches the content.

    Weights :math:`w_k` mix several styles, to the root :math:`\sum w_k A_k^{1/2}` and the mean
    :math:`\sum w_k \mu_k`. Or masks :math:`m_k` with :math:`\sum_k m_k \le 1` give each style a
    region of the content:

    .. math:: y = x + \alpha \sum_k m_k\, (y_k - x),

    with the moments of content and style over the regions. A mask of zeros and ones cuts, values
    between them blend, and the content stays where all masks are zero.

    Half features are computed in float32, and the result has the dtype of the content.

    Args:
        alpha: strength :math:`\alpha` in [0, 1].
        num_groups: groups of channels, each transformed by itself; must divide the channels.
        eps: :math:`\varepsilon \ge 0`, relative to the mean eigenvalue :math:`\bar\lambda`, so that
            it acts alike at any scale of the features.
        shrinkage: :math:`s`, the weight of the scaled identity in [0, 1]; None for none. ``"auto"``
            takes none where a group has more positions than channels. Where it has fewer, and its
            covariance is singular, ``"auto"`` takes the oracle approximating shrinkage
            :cite:p:`chen2010shrinkage`.
        method: how to compute the roots, see :func:`covlayers.functional.sqrtm`.
        backward: how to differentiate them; None for the method's default.

    Shape:
        - content: :math:`(N, C, *)`
        - style: :math:`(N, C, *)` or :math:`(1, C, *)`, of any spatial shape; or a sequence of
          :math:`S` such tensors
        - content_mask: :math:`(N, S, *)` or :math:`(1, S, *)`, with the spatial shape of the
          content; boolean, or numbers in [0, 1] that sum to at most 1 at a position. With one style
          all :math:`S` regions take it.
        - style_mask: as content_mask, with the spatial shape of the styles and any sum
        - both masks: or a sequence of :math:`S` masks :math:`(N, *)` or :math:`(1, *)`
        - weights: :math:`S` numbers, at least 0 and not all 0; by default all equal
        - Output: :math:`(N, C, *)`, in the memory format of the content

    Raises:
        InvalidValueError: for an option out of range or an unknown name, when the layer is built;
            if channels, shapes or devices do not fit, there are fewer than two positions, a mask
            has values out of range, or a region of a style fewer than two positions. A compiled
            graph raises torch's RuntimeError for wrong values of masks and weights.
        InvalidTypeError: for an option or input of a wrong type.

    Example:
        >>> content, style = torch.randn(2, 32, 16, 16), torch.randn(1, 32, 24, 24)
        >>> WhiteningColoring(alpha=0.8)(content, style).shape
        torch.Size([2, 32, 16, 16])

        The upper half after one style, the lower half after another:

        >>> upper = torch.arange(16)[:, None].expand(16, 16) < 8
        >>> mask = torch.stack([upper, ~upper])[None]
        >>> y = WhiteningColoring()(content, [style, -style], content_mask=mask)

    Reference:
        :cite:t:`li2017universal`.
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        num_groups: int = 1,
        eps: float = 1e-5,
        shrinkage: float | str | None = "auto",
        method: str | Method = "auto",
        backward: str | Backward | None = None,
    ) -> None:
        super().__init__()
        check_count("num_groups", num_groups)
        check_number("eps", eps, 0)
        check_shrinkage(shrinkage)
        self.alpha = alpha
        self.num_groups = num_groups
        self.way = WhitenColor(eps, shrinkage, *check_cell(ROOTS, method, backward))

    def forward(
        self,
        content: Tensor,
        style: Tensor | Sequence[Tensor],
        *,
        content_mask: Tensor | Sequence[Tensor] | None = None,
        style_mask: Tensor | Sequence[Tensor] | None = None,
        weights: Sequence[float] | Tensor | None = None,
    ) -> Tensor:
        """The content ``(N, C, *)`` in the style of others, mixed or by region."""
        check_features("content", content)
        if weights is not None and content_mask is not None:
            raise InvalidValueError(
                "weights must be None beside content_mask, whose values are the weights, "
                f"got {weights!r}."
            )
        G = self._groups(content.shape[1])
        parts = regions(content, style, content_mask, style_mask, G)
        with no_autocast(content):
            x = grouped(content, G)
            y = self._mix(x, parts, weights) if content_mask is None else self._place(x, parts)
            y = torch.lerp(x, y, self._strength(x))
        return like_format(y.view(content.shape).to(content.dtype), content)

    def _groups(self, channels: int) -> int:
        return self.num_groups

    def _strength(self, x: Tensor) -> Tensor:
        return x.new_full((), float(self.alpha))

    def _mix(
        self, x: Tensor, parts: list[Region], weights: Sequence[float] | Tensor | None
    ) -> Tensor:
        targets = (self.way.target(part.style, part.weights) for part in parts)
        means, roots = zip(*targets, strict=True)
        share = mixture(weights, len(parts), x)
        mixed = (
            sum(w * one for w, one in zip(share, ones, strict=True)) for ones in (means, roots)
        )
        return self.way.transform(x, Target(*mixed))

    def _place(self, x: Tensor, parts: list[Region]) -> Tensor:
        y = x
        for style, weights, mask in parts:
            assert mask is not None
            placed = self.way.transform(x, self.way.target(style, weights), mask)
            y = y + mask.unsqueeze(-2) * (placed - x)
        return y

    def extra_repr(self) -> str:
        """The options, method and rule as objects."""
        way = self.way
        given = "" if isinstance(self.alpha, Tensor) else f"alpha={self.alpha}, "
        return (
            f"{given}num_groups={self.num_groups}, eps={way.eps}, "
            f"shrinkage={way.shrinkage}, method={way.method}, backward={way.backward}"
        )
