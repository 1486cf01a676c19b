r"""What rounding leaves of a matrix in its computed eigenbasis, put back to first order.

With computed eigenvectors :math:`U`, the matrix is :math:`A = U (\Lambda + R)\, U^\top`, where
:math:`R` has no diagonal and the size of the rounding of :math:`\lambda_{\max}`: little for the
large eigenvalues, much for the small ones. By Daleckii and Krein

.. math:: f(A) = U \bigl( f(\Lambda) + L \circ R \bigr) U^\top + O(R^2),

with :math:`L` the divided differences of :math:`f`. For the gradient of a root,
:math:`S X + X S = G` in that basis with :math:`S = \Lambda^{1/2} + S'`, one step of defect
correction: :math:`X \leftarrow X - L \circ (S' X + X S')` after :math:`X = L \circ G`.

Eigenvalues that are rounding noise have no digits to put back: the corrections take them as
:math:`\theta = \epsilon \sqrt n\, \lambda_{\max}` at least, and stay small beside what they
correct.
"""

import torch
from torch import Tensor

from covlayers.functional._base.decomposition import positive
from covlayers.functional._base.linalg import symmetric
from covlayers.functional.core import MatrixFunction, Spectrum
from covlayers.functional.functions import INVSQRT, SQRT, degree


def residual(A: Tensor, vectors: Tensor) -> tuple[Spectrum, Tensor]:
    """The spectrum with eigenvalues from the diagonal of ``UᵀAU``, and ``R``, the rest of it."""
    R = symmetric(vectors.mT @ (A @ vectors))  # rounding is not, and L would magnify it
    diagonal = R.diagonal(dim1=-2, dim2=-1).clone()
    R.diagonal(dim1=-2, dim2=-1).zero_()
    return positive(diagonal, vectors), R


def refined(fn: MatrixFunction, values: Tensor, R: Tensor) -> Tensor:
    """``f(A)`` in the eigenbasis."""
    F = _first_order(fn, _above_noise(values), R)
    F.diagonal(dim1=-2, dim2=-1).add_(fn.f(values))
    return F


def _first_order(fn: MatrixFunction, values: Tensor, R: Tensor) -> Tensor:
    """``L R``, in units of the largest eigenvalue: of a tiny matrix ``L`` alone may overflow."""
    p = degree(fn)
    if p is None:
        return _differences(fn, values) * R
    unit = values.detach().amax(-1, keepdim=True)
    scale = unit.unsqueeze(-1)
    return _differences(fn, values / unit) * (R / scale) * scale**p


def refined_gradient(fn: MatrixFunction, values: Tensor, R: Tensor, grad: Tensor) -> Tensor:
    """The gradient of a root, of ``grad`` in the eigenbasis, which is overwritten, in it."""
    small = _differences(SQRT, _above_noise(values)) * R  # S'
    if fn.name == INVSQRT.name:  # that of the root for -Z G Z, with Z = z - z S' z
        z = fn.f(values)[..., :, None]
        T = grad.mul_(z).mul_(z.mT)
        change = (small @ T).mul_(z)
        grad = (change + change.mT).sub_(T)
    L = _differences(SQRT, values)
    X = grad.mul_(L)
    change = small @ X
    return X.sub_((change + change.mT).mul_(L))


def _above_noise(values: Tensor) -> Tensor:
    noise = torch.finfo(values.dtype).eps * values.shape[-1] ** 0.5
    return torch.maximum(values, noise * values.amax(-1, keepdim=True))


def _differences(fn: MatrixFunction, values: Tensor) -> Tensor:
    return fn.divided_difference(values[..., :, None], values[..., None, :])
