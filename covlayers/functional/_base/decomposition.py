"""The eigendecomposition that the library uses: it survives NaN, retries, and knows its noise."""

import torch
from torch import Tensor

from covlayers.functional._base.errors import ConvergenceError, LinAlgError
from covlayers.functional._base.linalg import (
    BEYOND_ROUNDING,
    identity_like,
    largest,
    nonzero,
    seen_all,
)


def decompose(A: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``(*, n)``, ascending, and eigenvectors ``(*, n, n)`` of symmetric matrices.

    A non-finite matrix gives NaN and leaves its neighbours exact.

    Raises:
        ConvergenceError: if LAPACK does not converge, not even in float64; names the matrix.
    """
    finite = largest(A.detach())[..., None, None] < torch.inf
    if seen_all(finite):
        return _eigh(A)
    safe = torch.where(finite, A, identity_like(A))
    values, vectors = torch.linalg.eigh(safe) if torch.compiler.is_compiling() else _eigh(safe)
    spoilt = torch.where(finite, 0.0, torch.nan).to(A.dtype)
    return values + spoilt.squeeze(-1), vectors + spoilt


def _eigh(A: Tensor) -> tuple[Tensor, Tensor]:
    try:
        values, vectors = torch.linalg.eigh(A)
    except LinAlgError:
        try:
            values, vectors = torch.linalg.eigh(A.double())
        except LinAlgError as error:
            raise ConvergenceError(
                f"the eigendecomposition of A, shape {tuple(A.shape)}, did not converge in "
                f"{A.dtype} nor in float64: {error} Add a multiple of the identity to that "
                "matrix, or use a method without one, e.g. method='polar_express'."
            ) from error
    return values.to(A.dtype), vectors.to(A.dtype)


def positive(values: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    r"""The spectrum of positive semi-definite matrices, raised out of the rounding noise.

    Eigenvalues below :math:`\epsilon \lambda_{\max}` (machine epsilon) are raised to it, those
    of a zero matrix to :math:`\text{tiny}^{3/8}`. A matrix with an eigenvalue below
    :math:`-0.01 \max|\lambda|` has no real root, and gives NaN.
    """
    known = values.detach()
    low, high = known[..., :1], known[..., -1:]
    floor = nonzero(torch.finfo(values.dtype).eps * high)
    indefinite = low < -BEYOND_ROUNDING * high
    return torch.maximum(values, torch.where(indefinite, torch.nan, floor)), vectors
