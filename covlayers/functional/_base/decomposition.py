"""The eigendecomposition that the library uses: it survives NaN, retries, and knows its noise."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from covlayers.functional._base.errors import ConvergenceError, LinAlgError
from covlayers.functional._base.function import compiling, readable
from covlayers.functional._base.linalg import BEYOND_ROUNDING, identity_like, largest, rounding_of
from covlayers.functional._base.onnx_export import refuse_onnx


class Spectrum(NamedTuple):
    r"""Eigenvalues and eigenvectors, and what they leave out of the matrix.

    .. math:: A = U (\Lambda + R)\, U^\top
    """

    values: Tensor  # (*, n), ascending
    vectors: Tensor  # (*, n, n), in columns
    residual: Tensor | None = None  # R, (*, n, n), of a method that refines


class Raised(NamedTuple):
    """A spectrum raised out of the rounding noise, and what was noise in it."""

    spectrum: Spectrum
    null: Tensor | None  # (*, n), whether an eigenvalue may be zero; None if none may


def decompose(A: Tensor) -> Spectrum:
    """The spectrum of symmetric matrices ``(*, n, n)``.

    A non-finite matrix gives NaN and leaves its neighbours exact.

    Raises:
        ConvergenceError: if LAPACK does not converge, not even in float64; names the matrix.
    """
    return _checked(A, _at_once(A))


def decompose_positive(A: Tensor, dtype: torch.dtype | None = None) -> Raised:
    """``positive(decompose(A), dtype)``, with one look at the eigenvalues in the usual case.

    Raises:
        ConvergenceError: as :func:`decompose`.
    """
    spectrum = _at_once(A)
    if spectrum is not None and A.numel():
        low, high = torch.aminmax(spectrum.values)
        if low.item() > A.shape[-1] * torch.finfo(dtype or A.dtype).eps * high.item():
            return Raised(spectrum, None)  # all are finite and far above the noise
    return positive(_checked(A, spectrum), dtype)


def _at_once(A: Tensor) -> Spectrum | None:
    """The spectrum as it comes; None where the host may not check it, or LAPACK raises."""
    if not readable(A):
        return None
    try:
        return Spectrum(*torch.linalg.eigh(A))
    except LinAlgError:  # as of a matrix that is not finite
        return None


def _checked(A: Tensor, spectrum: Spectrum | None) -> Spectrum:
    if spectrum is None or not math.isfinite(spectrum.values.sum().item()):
        return _finite_ones(A)
    return spectrum


def _finite_ones(A: Tensor) -> Spectrum:
    """The spectra of the matrices that are finite, NaN for the others."""
    if compiling():
        refuse_onnx(A, "an eigendecomposition")
    finite = largest(A.detach())[..., None, None] < torch.inf
    safe = torch.where(finite, A, identity_like(A))
    values, vectors = torch.linalg.eigh(safe) if compiling() else _or_in_float64(safe)
    spoilt = torch.where(finite, 0.0, torch.nan).to(A.dtype)
    return Spectrum(values + spoilt.squeeze(-1), vectors + spoilt)


def _or_in_float64(A: Tensor) -> tuple[Tensor, Tensor]:
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


def noise(n: int, dtype: torch.dtype) -> float:
    r"""How large rounding leaves an eigenvalue of zero, in units of :math:`\lambda_{\max}`.

    Measured for covariances of 64 to 1024 channels: up to :math:`0.6 \sqrt n \epsilon`.
    """
    return n**0.5 * torch.finfo(dtype).eps


def positive(spectrum: Spectrum, dtype: torch.dtype | None = None) -> Raised:
    r"""The spectrum of positive semi-definite matrices, raised out of the rounding noise.

    Eigenvalues below :math:`\epsilon \lambda_{\max}` (machine epsilon) are raised to it, those
    of a zero matrix to :math:`\text{tiny}^{3/8}`. A matrix with an eigenvalue below
    :math:`-0.01 \max|\lambda|` has no real root, and gives NaN. Eigenvalues up to
    :math:`\sqrt n \epsilon \lambda_{\max}` may be zero.

    Args:
        spectrum: of the matrices.
        dtype: whose rounding the matrices have, where it is not the dtype of the spectrum.
    """
    values, vectors, residual = spectrum
    dtype = dtype or values.dtype
    known = values.detach()
    highest = known[..., -1:]
    indefinite = known[..., :1] < -BEYOND_ROUNDING * highest
    floor = torch.where(indefinite, torch.nan, rounding_of(highest, dtype))
    raised = torch.maximum(values, floor)
    null = (known <= noise(values.shape[-1], dtype) * highest) & ~indefinite
    return Raised(Spectrum(raised, vectors, residual), null)


def without_null(f: Tensor, zero_at_zero: bool, null: Tensor | None) -> Tensor:
    """A function ``f (*, n)`` of raised eigenvalues, zero where ``null`` if it is zero at zero.

    Such a function divides by no eigenvalue, and what was raised would add up.
    """
    return f.masked_fill(null, 0.0) if zero_at_zero and null is not None else f
