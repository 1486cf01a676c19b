"""The spectral method: exact to rounding, and the way to every function."""

from dataclasses import dataclass

from torch import Tensor

from covlayers.functional.core import SpectralMethod, Spectrum
from covlayers.functional.spectrum import decompose


@dataclass(frozen=True)
class Eigh(SpectralMethod):
    r"""Symmetric eigendecomposition, :math:`f(A) = U f(\Lambda) U^\top`.

    Eigenvalues below :math:`\epsilon\lambda_{\max}`, where rounding has the say, are raised to it:
    the result for a rank-deficient matrix is that of the regularised one, and finite. A matrix
    with an eigenvalue below :math:`-0.01 \max|\lambda|` gives NaN. Cost: about :math:`9n^3`
    operations.

    Example:
        >>> from covlayers.functional import logm
        >>> logm(torch.eye(2), method=Eigh())
        tensor([[0., 0.],
                [0., 0.]])
    """

    def decompose(self, A: Tensor) -> Spectrum:
        return decompose(A)
