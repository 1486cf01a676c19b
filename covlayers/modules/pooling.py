"""Global covariance pooling."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from covlayers import functional as F
from covlayers.functional.checks import (
    InvalidValueError,
    check_channels,
    check_choice,
    check_count,
    check_number,
    check_positions,
    check_tensor,
)
from covlayers.functional.core import Method
from covlayers.functional.matrix_functions import choose_backward, choose_method
from covlayers.functional.precision import full_precision
from covlayers.functional.rule import Backward
from covlayers.modules.reduction import Reduction

VECTORIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "triu": F.triu_vector,
    "isometric": lambda Y: F.triu_vector(Y, isometric=True),
    "full": lambda Y: Y.flatten(-2),
}


class CovPool(nn.Module):
    r"""Global covariance pooling: the root of the channel covariance in place of the mean.

    The features of one image at :math:`M` positions, :math:`X \in \mathbb{R}^{C \times M}`, become

    .. math:: Y = A^{1/2}, \qquad A = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{C} I
              + \varepsilon I, \qquad \Sigma = \tfrac1M (X - \mu)(X - \mu)^\top,

    and the layer returns the entries of the symmetric :math:`Y` as a vector. With
    ``reduced_channels``, a 1x1 convolution without bias, batch normalisation and ReLU first bring
    the channels to that number, as in the papers.

    Half features compute in float32, under autocast too, and the result has the features' dtype.

    Args:
        in_channels: channels :math:`C` of the input; None takes any, and then ``out_features`` is
            unknown.
        reduced_channels: channels after the reduction, at most ``in_channels``; None for none.
        vectorize: ``"triu"``, the upper triangle row by row; ``"isometric"``, the same with
            off-diagonal entries times :math:`\sqrt 2`, which keeps the Frobenius norm; ``"full"``,
            all :math:`C^2` entries.
        eps: :math:`\varepsilon \ge 0`, added to the diagonal, in squared units of the features.
        shrinkage: :math:`s` in [0, 1], the weight of the scaled identity; None for none.
        method: how to compute the root, see :func:`covlayers.functional.sqrtm`.
        backward: how to differentiate it; None for the method's default.
        device: of the reduction's parameters.
        dtype: of the reduction's parameters.

    Attributes:
        out_features: length of the output vector.

    Shape:
        - Input: :math:`(N, C, *)` with any spatial shape, contiguous or channels last
        - Output: :math:`(N, C(C+1)/2)`, or :math:`(N, C^2)` with ``"full"``, where :math:`C` is
          ``reduced_channels`` if given

    Raises:
        InvalidValueError: for an option out of range or an unknown name, when the module is built;
            for an input with fewer than three dimensions, fewer than two positions, or other
            channels than ``in_channels``.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.

    Example:
        >>> pool = CovPool(64, 16, method="eigh", backward="loewner")
        >>> pool(torch.randn(8, 64, 7, 7)).shape, pool.out_features
        (torch.Size([8, 136]), 136)
    """

    def __init__(
        self,
        in_channels: int | None = None,
        reduced_channels: int | None = None,
        *,
        vectorize: str = "triu",
        eps: float = 1e-5,
        shrinkage: float | None = None,
        method: str | Method = "auto",
        backward: str | Backward | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if in_channels is not None:
            check_count("in_channels", in_channels)
        if reduced_channels is not None and in_channels is None:
            raise InvalidValueError(
                "in_channels must be given with reduced_channels, got None; "
                "it is the number of channels that come in."
            )
        check_choice("vectorize", vectorize, tuple(VECTORIZATIONS))
        check_number("eps", eps, 0)
        if shrinkage is not None:
            check_number("shrinkage", shrinkage, 0, 1)
        self.in_channels = in_channels
        self.reduced_channels = reduced_channels
        self.vectorize = vectorize
        self.eps = eps
        self.shrinkage = shrinkage
        self.method = choose_method(method)
        self.backward = choose_backward(backward)
        self.reduction: nn.Module = nn.Flatten(2)
        if in_channels is not None and reduced_channels is not None:
            self.reduction = Reduction(in_channels, reduced_channels, device=device, dtype=dtype)

    @property
    def out_features(self) -> int:
        """Length of the output vector.

        Raises:
            InvalidValueError: if the module was built without ``in_channels``.
        """
        channels = self.reduced_channels or self.in_channels
        if channels is None:
            raise InvalidValueError(
                f"{type(self).__name__}.out_features needs in_channels, got None when the module "
                "was built; pass in_channels."
            )
        return channels**2 if self.vectorize == "full" else channels * (channels + 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(N, C, *)`` to ``(N, out_features)``."""
        check_tensor("x", x, 3)
        if self.in_channels is not None:
            check_channels("x", x, "in_channels", self.in_channels)
        check_positions("x", x.flatten(2), 2)
        return self._pool(self.reduction(x))

    @full_precision
    def _pool(self, x: Tensor) -> Tensor:
        A = F.covariance(x, eps=self.eps, shrinkage=self.shrinkage)  # (N, C, C)
        Y = F.sqrtm(A, method=self.method, backward=self.backward)  # (N, C, C)
        return VECTORIZATIONS[self.vectorize](Y)  # (N, out_features)

    def extra_repr(self) -> str:
        """The options, method and rule as objects."""
        return (
            f"in_channels={self.in_channels}, reduced_channels={self.reduced_channels}, "
            f"vectorize={self.vectorize!r}, eps={self.eps}, shrinkage={self.shrinkage}, "
            f"method={self.method}, backward={self.backward}"
        )
