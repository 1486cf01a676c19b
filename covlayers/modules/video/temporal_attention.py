"""Attention between the frames of a video, ahead of covariance pooling."""

from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from covlayers.functional._base.checks import check_count, check_flag
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.function import compiling, transformed
from covlayers.functional._base.tensors import check_tensor
from covlayers.modules._factory import Factory, check_factory


class TemporalSpatialAttention(nn.Module):
    r"""Attention between the positions of a frame, by the two frames before it.

    The features of frame :math:`t`, :math:`x_t \in \mathbb{R}^{C \times M}`, become

    .. math:: y_t = x_t + \operatorname{BN}\Bigl( \sum_b S_{ab}\, (\phi_0 x_t)_b \Bigr)_a, \qquad
              S_{ab} = \operatorname*{softmax}_b\,
              \frac{(\phi_1 x_{t-1})_a^\top (\phi_2 x_{t-2})_b}{\sqrt C},

    where the first frame also stands for the frames before it. The :math:`\phi` are 1x1
    convolutions, that is, linear maps of the channels at each position. The weight of the
    normalisation starts at zero, so the layer starts as the identity.

    :func:`torch.nn.functional.scaled_dot_product_attention` computes the affinities :math:`S` and
    does not keep them. Its fused kernels have no second derivative and raise when asked for one; in
    forward mode and under the transforms of ``torch.func`` its plain form takes their place.

    Args:
        channels: channels :math:`C \ge 1`.
        bias: whether the :math:`\phi` have biases, as published. The bias of :math:`\phi_2` has no
            effect, by the softmax, and the bias of :math:`\phi_0` none in training, by BN.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        - Input: :math:`(N, T, C, *)` with any number of frames :math:`T` and any spatial shape
        - Output: :math:`(N, T, C, *)`

    Raises:
        InvalidValueError: if ``channels`` is out of range; for an input with fewer than four
            dimensions, other channels, no frame, or a single position in training.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.

    Example:
        >>> TemporalSpatialAttention(16)(torch.randn(2, 8, 16, 7, 7)).shape
        torch.Size([2, 8, 16, 7, 7])

    Reference:
        :cite:t:`gao2021temporal`.
    """

    def __init__(self, channels: int, *, bias: bool = False, **factory: Unpack[Factory]) -> None:
        super().__init__()
        check_count("channels", channels)
        check_flag("bias", bias)
        check_factory(self, factory)
        self.channels = channels
        self.query, self.key, self.value = (
            nn.Linear(channels, channels, bias=bias, **factory) for _ in range(3)
        )
        self.norm = nn.BatchNorm1d(channels, **factory)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Add to ``(N, T, C, *)`` what its positions attend to."""
        check_frames("x", x, "channels", self.channels)
        if self.training and x.numel() == self.channels:
            raise InvalidValueError(
                "x must have more than one position of all samples and frames in training, got "
                f"shape {tuple(x.shape)}; take a larger batch, or call eval()."
            )
        rows = x.flatten(3).mT  # (N, T, M, C)
        query, key = _delayed(self.query(rows), 1), _delayed(self.key(rows), 2)
        y = _attended(query, key, self.value(rows))
        return x + self.norm(y.flatten(0, 2)).view(y.shape).mT.reshape(x.shape)


class TemporalChannelAttention(nn.Module):
    r"""A weight for each channel of a frame, by how its mean changes from the frames before.

    .. math:: y_t = \tfrac12 \bigl( \sigma(g_t - g_{t-1}) + \sigma(\tfrac12 (g_t - g_{t-2}))
              \bigr)\, x_t, \qquad g_t = \tfrac1M \sum_a (x_t)_a

    .. math:: \sigma(d) = \operatorname{sigmoid}(W_2 \operatorname{ReLU}(W_1 d + b_1) + b_2)

    with :math:`t` counted modulo :math:`T`. Both differences share the two 1x1 convolutions, to
    :math:`4C` channels and back.

    Args:
        channels: channels :math:`C \ge 1`.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        - Input: :math:`(N, T, C, *)` with any number of frames :math:`T` and any spatial shape
        - Output: :math:`(N, T, C, *)`

    Raises:
        InvalidValueError: if ``channels`` is out of range; for an input with fewer than four
            dimensions, other channels or no frame.
        InvalidTypeError: if ``channels`` is not an int, or the input is not real floating.

    Example:
        >>> TemporalChannelAttention(16)(torch.randn(2, 8, 16, 7, 7)).shape
        torch.Size([2, 8, 16, 7, 7])

    Reference:
        :cite:t:`gao2021temporal`.
    """

    def __init__(self, channels: int, **factory: Unpack[Factory]) -> None:
        super().__init__()
        check_count("channels", channels)
        check_factory(self, factory)
        self.channels = channels
        self.gate = nn.Sequential(
            nn.Linear(channels, 4 * channels, **factory),
            nn.ReLU(inplace=True),
            nn.Linear(4 * channels, channels, **factory),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of ``(N, T, C, *)``."""
        check_frames("x", x, "channels", self.channels)
        return x * self.weights(x)

    def weights(self, x: Tensor) -> Tensor:
        """The weights of the channels of ``x``, in a shape that multiplies it."""
        # A difference of means in half would be mostly rounding.
        mean = x.flatten(3).mean(-1, dtype=torch.promote_types(x.dtype, torch.float32))
        changes = (mean - mean.roll(lag, 1) for lag in (1, 2))  # (N, T, C) each
        weights = [self.gate((d / lag).to(x.dtype)) for lag, d in enumerate(changes, 1)]
        weight = (weights[0] + weights[1]) / 2
        return weight.view(*weight.shape, *(1 for _ in x.shape[3:]))


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    if compiling() or not transformed():
        return nn.functional.scaled_dot_product_attention(query, key, value)
    with sdpa_kernel(SDPBackend.MATH):
        return nn.functional.scaled_dot_product_attention(query, key, value)


def check_frames(name: str, x: Tensor, argument: str, channels: int) -> None:
    """Features ``(N, T, C, *)`` of at least one frame, with the channels of a layer."""
    check_tensor(name, x, 4)
    if x.shape[2] != channels:
        raise InvalidValueError(
            f"{name} must have {argument}={channels} channels in dimension 2, got shape "
            f"{tuple(x.shape)}; the frames come first, (N, T, C, *)."
        )
    if x.shape[1] == 0:
        raise InvalidValueError(
            f"{name} must have at least one frame in dimension 1, got shape {tuple(x.shape)}."
        )


def _delayed(x: Tensor, lag: int) -> Tensor:
    """The frames ``x_{t - lag}``, the first one repeated."""
    return torch.cat([x[:, :1]] * lag + [x[:, :-lag]], 1)[:, : x.shape[1]]
