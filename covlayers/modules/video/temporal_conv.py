"""Convolution over the frames of a video, ahead of covariance pooling."""

from typing import Unpack

import torch
from torch import Tensor, nn

from covlayers.functional._base.checks import check_count, check_flag
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules.video.temporal_attention import check_frames


class TemporalConv(nn.Module):
    r"""A convolution over time, circular, added to the features.

    .. math:: y_t = \operatorname{ReLU}\Bigl( x_t + \sum_{s=0}^{k-1} W_s\, x_{t + s - \lfloor
              (k-1)/2 \rfloor} \Bigr), \qquad k = \lfloor \text{num\_frames} / 2 \rfloor + 1

    with :math:`t` counted modulo the number of frames, which may be smaller than :math:`k`. The
    :math:`W_s \in \mathbb{R}^{C \times C}` start at zero. The sum stands inside the ReLU; outside,
    the :math:`W_s` would stay at zero, where the derivative of ReLU is zero.

    Args:
        channels: channels :math:`C \ge 1`.
        num_frames: frames, at least 1, that the kernel is made for; any number may come in.
        bias: whether the convolution adds a bias, zero at the start, as published.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        - Input: :math:`(N, T, C, *)` with any number of frames :math:`T` and any spatial shape
        - Output: :math:`(N, T, C, *)`

    Raises:
        InvalidValueError: if an argument is out of range; for an input with fewer than four
            dimensions, other channels or no frame.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.

    Example:
        >>> TemporalConv(16, num_frames=8)(torch.randn(2, 8, 16, 7, 7)).shape
        torch.Size([2, 8, 16, 7, 7])

    Reference:
        :cite:t:`gao2021temporal`.
    """

    def __init__(
        self, channels: int, num_frames: int, *, bias: bool = False, **factory: Unpack[Factory]
    ) -> None:
        super().__init__()
        check_count("channels", channels)
        check_count("num_frames", num_frames)
        check_flag("bias", bias)
        check_factory(self, factory)
        self.channels = channels
        kernel = (num_frames // 2 + 1, 1)
        self.conv = nn.Conv2d(channels, channels, kernel, bias=bias, **factory)
        for parameter in self.conv.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(N, T, C, *)`` over ``T``."""
        check_frames("x", x, "channels", self.channels)
        return torch.relu(x + self.convolve(x))

    def convolve(self, x: Tensor) -> Tensor:
        """The sum in the ReLU without ``x`` itself."""
        if 0 in x.shape[3:]:  # torch convolves no empty maps
            return x
        wider = self.conv.kernel_size[0] - 1
        # Circular padding in torch wraps around once at most.
        frames = torch.arange(x.shape[1] + wider, device=x.device) - wider // 2
        wrapped = x.flatten(3).index_select(1, frames % x.shape[1])  # (N, T + k - 1, C, M)
        y = self.conv(wrapped.transpose(1, 2)).transpose(1, 2)  # (N, T, C, M)
        return y.reshape(x.shape)
