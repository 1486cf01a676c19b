"""Whitening-coloring with a learnt strength, and with variances alone."""

from typing import Any

import torch
from torch import Tensor, nn

from covlayers.functional._base.checks import check_place
from covlayers.functional.core import Method
from covlayers.functional.rule import Backward
from covlayers.modules.style.whitening_coloring import WhiteningColoring


class GroupWhiteningColoring(WhiteningColoring):
    r"""One hop of a network that transfers style: whitening-coloring of groups of channels.

    .. math:: y &= \alpha \bigl( A_s^{1/2} A_c^{-1/2} (x - \mu_c) + \mu_s \bigr)
              + (1 - \alpha)\, x,

              A &= (1 - s)\, \Sigma + \bigl( s\, \tfrac1c \operatorname{tr} \Sigma
              + \varepsilon\, \bar\lambda \bigr) I

    within each group of :math:`c = C / G` channels, and with a learnt strength :math:`\alpha`. A
    network has several such hops, one before the first and one after each residual block of its
    decoder in the publication. Masks, several styles and all else are those of
    :class:`WhiteningColoring`.

    A strength that an optimiser moves out of [0, 1] counts as the end that it passed, and only a
    gradient that leads back reaches it, so it neither sticks there nor runs away.

    Args:
        num_groups: groups :math:`G` of channels; must divide the channels.
        alpha: :math:`\alpha` at the start, in [0, 1].
        eps: :math:`\varepsilon \ge 0`, relative to the mean eigenvalue :math:`\bar\lambda` of all
            groups.
        shrinkage: :math:`s` in [0, 1], None or ``"auto"``, see :class:`WhiteningColoring`.
        method: how to compute the roots, see :func:`covlayers.functional.sqrtm`.
        backward: how to differentiate them; None for the method's default.
        device: of the strength.
        dtype: of the strength.

    Shape:
        - content: :math:`(N, C, *)`
        - style: :math:`(N, C, *)` or :math:`(1, C, *)`, of any spatial shape, or several
        - Output: :math:`(N, C, *)`, in the memory format of the content

    Raises:
        InvalidValueError: as :class:`WhiteningColoring`.
        InvalidTypeError: as :class:`WhiteningColoring`.

    Example:
        >>> hop = GroupWhiteningColoring(8)
        >>> hop(torch.randn(2, 64, 32, 32), torch.randn(2, 64, 16, 16)).shape
        torch.Size([2, 64, 32, 32])

    Reference:
        :cite:t:`cho2019image`, :cite:t:`song2022inverse`.
    """

    alpha: nn.Parameter

    def __init__(
        self,
        num_groups: int,
        alpha: float = 0.6,
        *,
        eps: float = 1e-5,
        shrinkage: float | str | None = "auto",
        method: str | Method = "auto",
        backward: str | Backward | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            alpha,
            num_groups=num_groups,
            eps=eps,
            shrinkage=shrinkage,
            method=method,
            backward=backward,
        )
        check_place(device, dtype)
        del self.alpha
        self.alpha = nn.Parameter(torch.tensor(float(alpha), device=device, dtype=dtype))

    def _strength(self, x: Tensor) -> Tensor:
        return _Bounded.apply(self.alpha).to(x.dtype)


class AdaIN(WhiteningColoring):
    r"""Adaptive instance normalisation: the first order of :class:`WhiteningColoring`.

    .. math:: y = \alpha \Bigl( \sigma_s \frac{x - \mu_c}{\sigma_c} + \mu_s \Bigr)
              + (1 - \alpha)\, x, \qquad \sigma^2 = v + \varepsilon\, \bar v

    for each sample and channel with its variance :math:`v`, the mean of which over the channels is
    :math:`\bar v`: whitening-coloring in groups of one channel. Masks and several styles are those
    of :class:`WhiteningColoring`.

    Args:
        alpha: strength :math:`\alpha` in [0, 1].
        eps: :math:`\varepsilon \ge 0`, relative to the mean variance.

    Shape:
        - content: :math:`(N, C, *)`
        - style: :math:`(N, C, *)` or :math:`(1, C, *)`, of any spatial shape, or several
        - Output: :math:`(N, C, *)`, in the memory format of the content

    Raises:
        InvalidValueError: as :class:`WhiteningColoring`.
        InvalidTypeError: as :class:`WhiteningColoring`.

    Example:
        >>> content, style = torch.randn(2, 8, 16, 16), 3 * torch.randn(1, 8, 20, 20) + 1
        >>> y = AdaIN()(content, style)
        >>> torch.allclose(y.std((2, 3)), style.std((2, 3)), rtol=1e-2)
        True

    Reference:
        :cite:t:`huang2017arbitrary`.
    """

    def __init__(self, alpha: float = 1.0, *, eps: float = 1e-5) -> None:
        super().__init__(alpha, eps=eps, shrinkage=None)

    def _groups(self, channels: int) -> int:
        return channels

    def extra_repr(self) -> str:
        """The options."""
        return f"alpha={self.alpha}, eps={self.way.eps}"


class _Bounded(torch.autograd.Function):
    """Clamp to [0, 1]. From outside a step against the gradient can only lead back."""

    generate_vmap_rule = True

    @staticmethod
    def forward(alpha: Tensor) -> Tensor:
        return alpha.clamp(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (alpha,) = ctx.saved_tensors
        outward = ((alpha > 1) & (grad < 0)) | ((alpha < 0) & (grad > 0))
        return grad.masked_fill(outward, 0)
