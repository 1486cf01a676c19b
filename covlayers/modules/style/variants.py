"""Whitening-coloring with a learnt strength, and with variances alone."""

from typing import Any, Unpack

import torch
from torch import Tensor, nn

from covlayers.functional._base.checks import check_place
from covlayers.modules.style.whitening_coloring import WhiteningColoring, WhiteningColoringOptions


class GroupWhiteningColoring(WhiteningColoring):
    r"""One hop of a network that transfers style: whitening-coloring of groups of channels.

    .. math:: y &= \alpha \bigl( A_s^{1/2} A_c^{-1/2} (x - \mu_c) + \mu_s \bigr)
              + (1 - \alpha)\, x,

              A &= (1 - s)\, \Sigma + \bigl( s\, \tfrac1c \operatorname{tr} \Sigma
              + \varepsilon\, \bar\lambda \bigr) I

    within each group of :math:`c = C / G` channels, with a learnt strength :math:`\alpha`. Networks
    have several such hops: in the publication, one before the first and one after each residual
    block of the decoder. Like :class:`WhiteningColoring`, a hop takes masks and several styles.

    A strength that an optimiser moves out of [0, 1] counts as the end that it passed. Only a
    gradient that leads back reaches it, so the strength neither sticks there nor runs away.

    Args:
        num_groups: groups :math:`G` of channels; must divide the channels.
        alpha: :math:`\alpha` at the start, in [0, 1].
        eps, shrinkage, method, backward: as :class:`WhiteningColoring`.
        device: of the strength.
        dtype: of the strength.

    Shape:
        - content: :math:`(N, C, *)`
        - style: :math:`(N, C, *)` or :math:`(1, C, *)`, of any spatial shape, or several
        - Output: :math:`(N, C, *)`, in the memory format of the content

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`WhiteningColoring`.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Unpack[WhiteningColoringOptions],
    ) -> None:
        super().__init__(alpha, num_groups=num_groups, **options)
        check_place(device, dtype)
        del self.alpha
        self.alpha = nn.Parameter(torch.tensor(float(alpha), device=device, dtype=dtype))

    def _strength(self, x: Tensor) -> Tensor:
        return _Bounded.apply(self.alpha).to(x.dtype)


class AdaIN(WhiteningColoring):
    r"""Adaptive instance normalisation: the first order of :class:`WhiteningColoring`.

    .. math:: y = \alpha \Bigl( \sigma_s \frac{x - \mu_c}{\sigma_c} + \mu_s \Bigr)
              + (1 - \alpha)\, x, \qquad \sigma^2 = v + \varepsilon\, \bar v

    for each sample and channel, with the variance :math:`v` of the channel and the mean
    :math:`\bar v` of the variances of all channels: whitening-coloring in groups of one channel.
    Like :class:`WhiteningColoring`, the layer takes masks and several styles.

    Args:
        alpha: strength :math:`\alpha` in [0, 1].
        eps: :math:`\varepsilon \ge 0`, relative to the mean variance.

    Shape:
        - content: :math:`(N, C, *)`
        - style: :math:`(N, C, *)` or :math:`(1, C, *)`, of any spatial shape, or several
        - Output: :math:`(N, C, *)`, in the memory format of the content

    Raises:
        InvalidValueError, InvalidTypeError: as :class:`WhiteningColoring`.

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
    """Clamp to [0, 1]. Outside, only a gradient that leads back passes."""

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
