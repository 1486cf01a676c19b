"""The method that suits the input."""

from dataclasses import dataclass

import torch
from torch import Tensor

from covlayers.functional._base import tuning
from covlayers.functional._base.checks import check_flag
from covlayers.functional._base.function import readable
from covlayers.functional.core import Computed, Fns, Method
from covlayers.functional.functions import INVSQRT
from covlayers.functional.methods.eigh import Eigh
from covlayers.functional.methods.polar_express import PolarExpress


@dataclass(frozen=True)
class Auto(Method):
    r"""The fastest method among those that are exact to rounding, as measured.

    =============================  ======================  ============================
    \                              the root                the inverse root, or both
    =============================  ======================  ============================
    CPU, float32, 16 to 32, many   :class:`PolarExpress`   :class:`PolarExpress`
    CPU, float32, else             :class:`Eigh`           ``Eigh(refine=True)``
    CPU, float64                   :class:`Eigh`           :class:`Eigh`
    accelerator                    :class:`PolarExpress`   :class:`PolarExpress`
    =============================  ======================  ============================

    Sizes are numbers of rows. Many matrices have 1024 rows or more together. Other functions take
    :class:`Eigh`, as do graphs of ``torch.compile`` and transforms of ``torch.func`` on a CPU.

    On a CPU of two cores the products took 0.9 of the time of the eigendecomposition at 16, 0.6 at
    32 and 1.4 at 64 (``python -m benchmarks.run``). The inverse root is refined, which takes a
    third more time and 20 times less error. On an accelerator a batched eigendecomposition is
    slower than the products, and cannot be captured in a CUDA graph.

    Args:
        refine: False for the plain eigendecomposition, where its digits are enough.

    Raises:
        InvalidTypeError: if ``refine`` is not a bool.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> sqrtm(4 * torch.eye(2), method=Auto())
        tensor([[2., 0.],
                [0., 2.]])
    """

    refine: bool = True

    def __post_init__(self) -> None:
        check_flag("refine", self.refine)

    def select(self, fns: Fns, A: Tensor) -> Method:
        if len(fns) > 0 and all([fn.is_root for fn in fns]):
            n, (low, high) = A.shape[-1], tuning.PRODUCT_SIZES
            many = low <= n <= high and A.numel() >= tuning.PRODUCT_ROWS * n
            # Products alone may find a matrix indefinite that the eigendecomposition takes for
            # rounded; it then stands in, but only where the values can be read.
            if A.device.type != "cpu" or (many and A.dtype == torch.float32 and readable(A)):
                return _PRODUCTS
        inverse = any([fn == INVSQRT for fn in fns])
        return _REFINED if self.refine and inverse and A.dtype == torch.float32 else _PLAIN

    def explain(self, fns: Fns, A: Tensor) -> tuple[str, str]:
        chosen = self.select(fns, A)
        if chosen is not _PRODUCTS:
            reason = "an eigendecomposition serves every function, and on a CPU costs least"
        elif A.device.type == "cpu":
            reason = "products cost less than the eigendecomposition of many matrices of this size"
        else:
            reason = "products cost less than an eigendecomposition on an accelerator"
        return chosen.explain(fns, A)[0], reason

    def forward(self, fns: Fns, A: Tensor) -> Computed:
        return self.select(fns, A).forward(fns, A)

    def steps(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        return self.select(fns, A).steps(fns, A)


# Built once, and not in a compiled graph.
_PRODUCTS, _PLAIN, _REFINED = PolarExpress(), Eigh(), Eigh(refine=True)
