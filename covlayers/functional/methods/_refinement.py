r"""A first-order correction for the rounding of an eigendecomposition.

With computed eigenvectors :math:`U`, the matrix is :math:`A = U (\Lambda + R)\, U^\top`, where
:math:`R` has a zero diagonal and is as large as the rounding of :math:`\lambda_{\max}`: little for
the large eigenvalues, much for the small ones. By Daleckii and Krein

.. math:: f(A) = U \bigl( f(\Lambda) + L \circ R \bigr) U^\top + O(R^2),

with :math:`L` the divided differences of :math:`f`. For the gradient of a root,
:math:`S X + X S = G` in that basis with :math:`S = \Lambda^{1/2} + S'`, one step of defect
correction: :math:`X \leftarrow X - L \circ (S' X + X S')` after :math:`X = L \circ G`.

Eigenvalues that are rounding noise have no digits to correct. The corrections raise them to
:math:`\theta = \epsilon \sqrt n\, \lambda_{\max}`, so that a correction is smaller than the value
that it corrects.
"""

import math

import torch
from torch import Tensor

from covlayers.functional._base.decomposition import (
    Raised,
    Spectrum,
    noise,
    positive,
    without_null,
)
from covlayers.functional._base.linalg import into_basis, out_of_basis, symmetric
from covlayers.functional.core import MatrixFunction
from covlayers.functional.functions import INVSQRT, SQRT


def with_residual(A: Tensor, vectors: Tensor) -> Raised:
    """The spectrum with eigenvalues from the diagonal of ``UᵀAU``, and ``R``, the rest of it."""
    R = symmetric(into_basis(vectors, A))  # rounding is asymmetric, and L would magnify it
    diagonal = R.diagonal(dim1=-2, dim2=-1)
    raised = positive(Spectrum(diagonal.clone(), vectors, R))
    diagonal.zero_()
    return raised


def refined(fn: MatrixFunction, spectrum: Spectrum, null: Tensor | None) -> Tensor:
    """``f(A)``."""
    values, vectors, R = spectrum
    assert R is not None
    F = _first_order(fn, values, R)
    if fn.zero_at_zero and null is not None:  # between null directions F is noise
        F = F.masked_fill(null.unsqueeze(-1) & null.unsqueeze(-2), 0.0)
    F.diagonal(dim1=-2, dim2=-1).add_(without_null(fn.f(values), fn.zero_at_zero, null))
    return out_of_basis(vectors, F)


def _first_order(fn: MatrixFunction, values: Tensor, R: Tensor) -> Tensor:
    """``L R``, in units of the largest eigenvalue: ``L`` of a tiny matrix could overflow."""
    values = _above_noise(values)
    p = fn.exponent
    if math.isnan(p):
        return _differences(fn, values) * R
    scale = values.detach()[..., -1:, None]
    return _differences(fn, values / scale.squeeze(-1)) * (R / scale) * scale**p


def refined_gradient(fn: MatrixFunction, values: Tensor, R: Tensor, grad: Tensor) -> Tensor:
    """The gradient of a root for ``grad``, both in the eigenbasis; overwrites ``grad``."""
    small = _differences(SQRT, _above_noise(values)) * R  # S'
    if fn == INVSQRT:  # the root's gradient for -Z G Z, with Z = z - z S' z
        z = fn.f(values).unsqueeze(-1)
        T = grad.mul_(z).mul_(z.mT)
        change = (small @ T).mul_(z)
        grad = (change + change.mT).sub_(T)
    L = _differences(SQRT, values)
    X = grad.mul_(L)
    change = small @ X
    return X.sub_((change + change.mT).mul_(L))


def _above_noise(values: Tensor) -> Tensor:
    return torch.maximum(values, noise(values.shape[-1], values.dtype) * values[..., -1:])


def _differences(fn: MatrixFunction, values: Tensor) -> Tensor:
    return fn.divided_difference(values.unsqueeze(-1), values.unsqueeze(-2))
