"""Global covariance pooling."""

from collections.abc import Callable
from functools import partial
from typing import Unpack

import torch
from torch import Tensor, nn

from covlayers.functional._base.checks import check_at_most, check_choice, check_count
from covlayers.functional._base.errors import InvalidValueError
from covlayers.functional._base.function import compiling
from covlayers.functional._base.tensors import (
    check_channels,
    check_positions,
    check_tensor,
    full_precision,
)
from covlayers.functional.by_positions import Cell, Wanted, by_positions, share_and_base
from covlayers.functional.centered_product import few_positions, regularized_covariance
from covlayers.functional.core import MatrixFunction, Method
from covlayers.functional.gaussian import embedded
from covlayers.functional.matrix_functions import OWN_RULE, check_cell
from covlayers.functional.rule import Backward
from covlayers.functional.triangle import upper_triangle
from covlayers.modules._factory import Factory, check_factory
from covlayers.modules._outweighing_eps import look
from covlayers.modules._ranges import in_range
from covlayers.modules.pooling._covariance_function import choose_cell, choose_function
from covlayers.modules.pooling._reduction import Reduction

VECTORIZATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "triu": upper_triangle,
    "isometric": partial(upper_triangle, isometric=True),
    "full": partial(torch.flatten, start_dim=-2),
}


class CovPool(nn.Module):
    r"""Global covariance pooling: a function of the channel covariance in place of the mean.

    The features of one image at :math:`M` positions, :math:`X \in \mathbb{R}^{C \times M}`, become

    .. math:: Y = f(A), \qquad A = (1 - s)\, \Sigma + s\, \tfrac{\operatorname{tr}\Sigma}{C} I
              + \varepsilon I, \qquad \Sigma = \tfrac1M (X - \mu)(X - \mu)^\top,

    with the root :math:`f(A) = A^{1/2}` unless told, and the layer returns the entries of the
    symmetric :math:`Y` as a vector. With ``mean_weight``, :math:`A` is the
    :func:`~covlayers.functional.gaussian_embedding` of that covariance and the mean. With
    ``reduced_channels``, a 1x1 convolution without bias, batch normalisation and ReLU first bring
    the channels to that number, as in the papers.

    ``function="log"`` with ``vectorize="isometric"`` is the log-Euclidean representation:
    Euclidean distances between vectors are log-Euclidean distances between covariances.

    Half features compute in float32, under autocast too, and the result has the features' dtype.

    Args:
        in_channels: channels :math:`C \ge 1` of the input; None takes any, and then
            ``out_features`` is unknown.
        reduced_channels: channels after the reduction, at most ``in_channels``; None for none.
        vectorize: ``"triu"``, the upper triangle row by row; ``"isometric"``, that triangle with
            off-diagonal entries times :math:`\sqrt 2`, which keeps the Frobenius norm; ``"full"``,
            all :math:`C^2` entries.
        eps: :math:`\varepsilon \ge 0`, added to the diagonal, in squared units of the features. The
            layer warns, once, where ``eps`` outweighs the variances, in training on a CPU.
        shrinkage: :math:`s` in [0, 1], the weight of the scaled identity; None for none.
        function: :math:`f`: ``"sqrt"``; ``"log"``; a real number :math:`p`, for the power
            :math:`A^p`; or a module from symmetric matrices :math:`(N, n, n)` to matrices of the
            same shape, e.g. :class:`SVPowerNorm`, of which ``"triu"`` and ``"isometric"`` read the
            upper triangle.
        mean_weight: weight :math:`w > 0` of the mean, in inverse units of the features; None for
            the covariance alone.
        method: how to compute the function, see :func:`covlayers.functional.sqrtm`; the default
            with a module.
        backward: how to differentiate it; None for the method's default.
        side: ``"channels"``, ``"positions"`` or ``"auto"``, as for
            :func:`~covlayers.functional.covariance_function`. A module, or ``mean_weight``, takes
            the channels.
        device: of the reduction's parameters.
        dtype: of the reduction's parameters.

    Attributes:
        out_features: length of the output vector.

    Shape:
        - Input: :math:`(N, C, *)` with any spatial shape, contiguous or channels last
        - Output: :math:`(N, n(n+1)/2)`, or :math:`(N, n^2)` with ``"full"``, where :math:`n` is
          :math:`C` or ``reduced_channels`` if given, and one more with ``mean_weight``

    Raises:
        InvalidValueError: for an option out of range or an unknown name, when the module is built;
            for an input with fewer than three dimensions, fewer than two positions, or other
            channels than ``in_channels``.
        InvalidTypeError: for an option of a wrong type, or an input that is not real floating.
        UnsupportedError: if function, method and rule do not fit, when the module is built.

    Example:
        >>> pool = CovPool(64, 16, method="eigh", backward="loewner")
        >>> pool(torch.randn(8, 64, 7, 7)).shape, pool.out_features
        (torch.Size([8, 136]), 136)

    Reference:
        :cite:t:`li2017second` (root); :cite:t:`ionescu2015matrix` (logarithm);
        :cite:t:`wang2017g2denet` (mean).
    """

    # of a layer that an older version has stored
    side = "auto"
    _looked = False
    _asked: tuple[object, ...] | None = None
    _cell: Cell | None = None

    eps: float = in_range(0)
    shrinkage: float | None = in_range(0, 1, optional=True)
    mean_weight: float | None = in_range(0, open_low=True, optional=True)

    def __init__(
        self,
        in_channels: int | None = None,
        reduced_channels: int | None = None,
        *,
        vectorize: str = "triu",
        eps: float = 1e-5,
        shrinkage: float | None = None,
        function: str | float | MatrixFunction | nn.Module = "sqrt",
        mean_weight: float | None = None,
        method: str | Method = "auto",
        backward: str | Backward | None = None,
        side: str = "auto",
        **factory: Unpack[Factory],
    ) -> None:
        super().__init__()
        if in_channels is not None:
            check_count("in_channels", in_channels)
        if reduced_channels is not None:
            check_count("reduced_channels", reduced_channels)
            if in_channels is None:
                raise InvalidValueError(
                    "in_channels must be given with reduced_channels, got None; "
                    "it is the number of channels that come in."
                )
            check_at_most("reduced_channels", reduced_channels, "in_channels", in_channels)
        check_choice("vectorize", vectorize, tuple(VECTORIZATIONS))
        check_factory(self, factory)
        self.in_channels = in_channels
        self.reduced_channels = reduced_channels
        self.vectorize = vectorize
        self.eps = eps
        self.shrinkage = shrinkage
        self.mean_weight = mean_weight
        self.method, self.backward = check_cell((), method, backward)
        self.function = choose_function(function, self.method, self.backward)
        self.side = side
        asked = (self.function, self.method, self.backward, side, mean_weight is None)
        self._cell, self._asked = choose_cell(*asked), asked
        self.reduction: nn.Module = nn.Flatten(2)
        if in_channels is not None and reduced_channels is not None:
            self.reduction = Reduction(in_channels, reduced_channels, **factory)

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
        n = channels if self.mean_weight is None else channels + 1
        return n**2 if self.vectorize == "full" else n * (n + 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``(N, C, *)`` to ``(N, out_features)``."""
        check_tensor("x", x, 3)
        if self.in_channels is not None:
            check_channels("x", x, "in_channels", self.in_channels)
        check_positions("x", x, 2, first=2)
        return self._pool(self.reduction(x))

    @full_precision
    def _pool(self, x: Tensor) -> Tensor:
        # in evaluation a network that has seen little may have features far from their scale
        if self.training and x.numel() and not (compiling() or self._looked):
            self._looked = look(self, self.eps, x.detach().var(-1, correction=0))
        alone = self.mean_weight is None
        asked = (self.function, self.method, self.backward, self.side, alone)
        if not compiling() and asked != self._asked:  # an option was set
            self._cell, self._asked = choose_cell(*asked), asked
        cell = self._cell
        eps, shrinkage = self.eps, self.shrinkage
        if cell is not None and few_positions(x, self.side, cell.products, eps, shrinkage):
            kind = self.vectorize
            wanted = Wanted(cell, True, kind != "full", kind == "isometric")
            scales = share_and_base(x, True, eps, shrinkage)
            return by_positions(x, *scales, wanted).flatten(1)
        A = regularized_covariance(x, True, eps, shrinkage)
        if self.mean_weight is not None:
            A = embedded(x, A, self.mean_weight)
        if isinstance(self.function, nn.Module):
            Y = self.function(A)  # (N, n, n)
        else:
            (Y,) = (self.backward or OWN_RULE).apply((self.function,), self.method, A)
        return VECTORIZATIONS[self.vectorize](Y)  # (N, out_features)

    def extra_repr(self) -> str:
        """The options, function, method and rule as objects; a module is shown as a part."""
        own = isinstance(self.function, nn.Module)
        function = type(self.function).__name__ if own else self.function
        return (
            f"in_channels={self.in_channels}, reduced_channels={self.reduced_channels}, "
            f"vectorize={self.vectorize!r}, eps={self.eps}, shrinkage={self.shrinkage}, "
            f"function={function}, mean_weight={self.mean_weight}, "
            f"method={self.method}, backward={self.backward}, side={self.side!r}"
        )
