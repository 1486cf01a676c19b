"""Whitening of each sample by itself."""

import math
from typing import Unpack

from torch import Tensor

from covlayers.functional._base.errors import InvalidTypeError, InvalidValueError
from covlayers.functional._base.function import compiling
from covlayers.functional._base.tensors import check_channels, full
from covlayers.functional._batch.memory_layout import formatted_gradient, like_format
from covlayers.functional._batch.normalise import Way, batch_transform
from covlayers.functional.core import Method
from covlayers.functional.functions import INVSQRT
from covlayers.functional.matrix_functions import applied, check_cell
from covlayers.functional.rule import Backward
from covlayers.modules._factory import Factory
from covlayers.modules._outweighing_eps import look
from covlayers.modules.norms._channel_affine import ChannelAffine, chosen_groups


class GroupWhitening(ChannelAffine):
    r"""Group normalisation that whitens: the groups of a sample's channels, against each other.

    The :math:`C` channels of one sample at :math:`M` positions are read as :math:`G` variables of
    :math:`m = C M / G` observations each, :math:`X \in \mathbb{R}^{G \times m}`, and

    .. math:: \hat X = \hat\Sigma^{-1/2} (X - \mu), \qquad
              \hat\Sigma = \tfrac1m (X - \mu)(X - \mu)^\top + \varepsilon I, \qquad
              y = \gamma\, \hat x + \beta

    with :math:`\gamma` and :math:`\beta` per channel. Group normalisation is the case of a diagonal
    :math:`\hat\Sigma`. Samples do not see each other, so the layer keeps no running averages. It
    computes the same function in training and in evaluation, for any batch size and any number of
    processes.

    Args:
        num_features: as :class:`DecorrelatedBatchNorm`.
        num_groups: groups :math:`G`; must divide ``num_features``.
        group_size: channels :math:`C/G` per group, in place of ``num_groups``; must divide
            ``num_features``.
        eps, affine: as :class:`DecorrelatedBatchNorm`.
        method: how to compute the inverse root, see :func:`covlayers.functional.invsqrtm`. The
            publication takes ``NewtonSchulz(5)``.
        backward: how to differentiate it; None for the method's default.
        device: of the parameters.
        dtype: of the parameters.

    Shape:
        - Input: :math:`(N, C, *)`
        - Output: :math:`(N, C, *)`, in the memory format of the input

    Raises:
        InvalidValueError: for an option out of range or an unknown name, when the layer is built;
            for an input with other channels, or with a single value in a group.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.

    Example:
        >>> GroupWhitening(32, num_groups=8)(torch.randn(2, 32, 7, 7)).shape
        torch.Size([2, 32, 7, 7])

    Reference:
        :cite:t:`huang2021group`.
    """

    def __init__(
        self,
        num_features: int,
        num_groups: int | None = None,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        group_size: int | None = None,
        method: str | Method = "auto",
        backward: str | Backward | None = None,
        **factory: Unpack[Factory],
    ) -> None:
        if num_groups is None and group_size is None:
            raise InvalidTypeError(
                "num_groups must be an int, got None without a group_size; pass one of the two."
            )
        num_groups = chosen_groups(num_features, num_groups, group_size)
        super().__init__(num_features, num_groups, eps=eps, affine=affine, **factory)
        self.method, self.backward = check_cell((INVSQRT,), method, backward)
        self._inverse_root = applied(INVSQRT, self.method, self.backward)
        self.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Whiten each sample of ``(N, C, *)``."""
        check_channels("x", x, "num_features", self.num_features)
        if math.prod(x.shape[1:]) == self.num_groups:
            raise InvalidValueError(
                "x must have more than one value in each of the "
                f"num_groups={self.num_groups} groups of a sample, got shape {tuple(x.shape)}; "
                "take fewer groups."
            )
        y = self._whiten(full(formatted_gradient(x))) if x.numel() else x
        if self.weight is not None and self.bias is not None:
            per_channel = (-1, *(1 for _ in x.shape[2:]))
            y = y * self.weight.view(per_channel) + self.bias.view(per_channel)
        return like_format(y.to(x.dtype), x)

    def _whiten(self, x: Tensor) -> Tensor:
        # One sample after the other as groups of channels of a batch of one.
        N, G = x.shape[0], self.num_groups
        samples = x.reshape(1, N * G, -1)
        way = Way(self._inverse_root, self.eps, None)
        y, _, cov, _ = batch_transform(samples, None, None, way, N, None)
        if self.training and not (compiling() or self._looked):
            self._looked = look(self, self.eps, cov.diagonal(dim1=-2, dim2=-1))
        return y.view(x.shape)

    def extra_repr(self) -> str:
        """The options, method and rule as objects."""
        return (
            f"{self.num_features}, num_groups={self.num_groups}, eps={self.eps}, "
            f"affine={self.affine}, method={self.method}, backward={self.backward}"
        )
