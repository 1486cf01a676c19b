"""The method that suits the input."""

from dataclasses import dataclass

from torch import Tensor

from covlayers.functional.core import Fns, Method
from covlayers.functional.methods.eigh import Eigh
from covlayers.functional.methods.polar_express import PolarExpress
from covlayers.functional.spectra import is_root


@dataclass(frozen=True)
class Auto(Method):
    """:class:`Eigh` on a CPU and for functions other than the roots, else :class:`PolarExpress`.

    LAPACK's eigendecomposition is faster than the products at equal error on a CPU; a batched one
    on an accelerator is slower, and cannot be captured in a CUDA graph.

    Example:
        >>> from covlayers.functional import sqrtm
        >>> sqrtm(4 * torch.eye(2), method=Auto())
        tensor([[2., 0.],
                [0., 2.]])
    """

    def select(self, fns: Fns, A: Tensor) -> Method:
        only_roots = len(fns) > 0 and all(is_root(fn) for fn in fns)
        return PolarExpress() if only_roots and A.device.type != "cpu" else Eigh()

    def forward(self, fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
        return self.select(fns, A).forward(fns, A)
