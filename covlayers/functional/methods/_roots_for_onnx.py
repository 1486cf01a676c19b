r"""Roots in a graph for ONNX, which has no eigendecomposition: by the products of PolarExpress.

A power :math:`\pm 2^{-k}` is a root of roots. No other function has a formula by products.
"""

from math import frexp

import torch
from torch import Tensor

from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._iterations.roots import LastStep, plain
from covlayers.functional.core import Fns, MatrixFunction
from covlayers.functional.functions import Power
from covlayers.functional.methods._minimax import minimax_quintics


def roots_for_onnx(fns: Fns, A: Tensor) -> tuple[Tensor, ...]:
    """Each of ``fns`` of symmetric ``A``, ``(*, n, n)``.

    Raises:
        UnsupportedError: for a function that is no root of a root.
    """
    for fn in fns:
        if not _is_root_of_roots(fn):
            name = f"the power {fn.exponent}" if isinstance(fn, Power) else fn.name
            raise UnsupportedError(
                f"{name} cannot be exported to ONNX, which has no eigendecomposition; take a root, "
                "by products: function='sqrt' of a pooling, SVPowerNorm with num_values, sqrtm or "
                "invsqrtm. torch.export.export keeps every function."
            )
    first = _iterated(A)
    return tuple([_power(first, fn.exponent) for fn in fns])


def _is_root_of_roots(fn: MatrixFunction) -> bool:
    p = abs(fn.exponent) if fn.is_root or isinstance(fn, Power) else 0.0
    return 0 < p <= 0.5 and frexp(p)[0] == 0.5


def _power(first: LastStep, p: float) -> Tensor:
    """``A^p``, from the iteration for ``A``."""
    if abs(p) == 0.5:
        return first.root if p > 0 else first.inverse_root
    return _power(_iterated(first.root), 2 * p)


def _iterated(A: Tensor) -> LastStep:
    eps = torch.finfo(A.dtype).eps
    return plain(A, minimax_quintics((16 * eps) ** 0.5, eps), tight=True)
