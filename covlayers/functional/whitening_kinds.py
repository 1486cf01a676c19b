"""Five matrices that whiten a covariance."""

from collections.abc import Callable

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_choice, check_square
from covlayers.functional._base.decomposition import positive
from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.linalg import (
    cholesky,
    identity_like,
    nonzero,
    standardized,
    symmetric,
    symmetrised,
    trace,
)
from covlayers.functional._base.precision import full_precision
from covlayers.functional.core import Method
from covlayers.functional.eigendecomposition import eigh
from covlayers.functional.matrix_functions import invsqrtm
from covlayers.functional.methods.auto import Auto
from covlayers.functional.rule import Backward

MethodLike = str | Method
BackwardLike = str | Backward | None


@full_precision
def whitening_matrix(
    cov: Tensor, *, kind: str = "zca", method: MethodLike = "auto", backward: BackwardLike = None
) -> Tensor:
    r"""A matrix :math:`W` with :math:`W \Sigma W^\top = I`.

    With :math:`\Sigma = U \Lambda U^\top`, its diagonal :math:`V` and its correlation matrix
    :math:`P = V^{-1/2} \Sigma V^{-1/2} = G \Theta G^\top`:

    - ``"zca"``: :math:`W = \Sigma^{-1/2}`, closest to the identity;
    - ``"pca"``: :math:`W = \Lambda^{-1/2} U^\top`, the leading component first, the entry of
      largest magnitude of each eigenvector positive;
    - ``"cholesky"``: :math:`W = L^{-1}` with :math:`\Sigma = L L^\top`, lower triangular with
      positive diagonal;
    - ``"zca_cor"``: :math:`W = P^{-1/2} V^{-1/2}`, closest to standardisation;
    - ``"pca_cor"``: :math:`W = \Theta^{-1/2} G^\top V^{-1/2}`.

    Of a singular covariance the eigenvalues (``"pca"``), the variances (``"*_cor"``) or the
    diagonal (``"cholesky"``) are raised out of the rounding noise, and ``"zca"`` does as its method
    does: the result is finite, and so is its gradient.

    Args:
        cov: covariance matrices :math:`\Sigma`.
        kind: the whitening.
        method: how to compute, as for :func:`sqrtm`, ``"auto"`` being ``Auto(refine=False)``;
            ``"auto"`` or a spectral method for the PCA kinds, ``"auto"`` for Cholesky.
        backward: how to differentiate, as for :func:`sqrtm`; for the PCA kinds a rule of
            :func:`eigh`, by default ``"exact_gaps"``; None for Cholesky.

    Shape:
        - cov: :math:`(*, n, n)`
        - Output: :math:`(*, n, n)`

    Raises:
        InvalidValueError: if ``cov`` is not square or far from symmetric, or a name is unknown.
        InvalidTypeError: if ``cov`` is not a real floating tensor.
        UnsupportedError: if method or rule do not fit the kind.
        ConvergenceError: if an eigendecomposition does not converge.

    Example:
        >>> whitening_matrix(torch.tensor([[4.0, 0.0], [0.0, 16.0]]), kind="pca")
        tensor([[0.0000, 0.2500],
                [0.5000, 0.0000]])

    Reference:
        :cite:t:`kessy2018optimal`.
    """
    check_square("cov", cov)
    check_choice("kind", kind, tuple(_KINDS))
    if cov.numel() == 0:
        return symmetric(cov)
    cov = symmetrised("cov", cov)
    return _KINDS[kind](cov, method, backward)


def _zca(cov: Tensor, method: MethodLike, backward: BackwardLike) -> Tensor:
    # What refinement restores, an estimated covariance does not have.
    chosen = Auto(refine=False) if method == "auto" else method
    return invsqrtm(cov, method=chosen, backward=backward)


def _pca(cov: Tensor, method: MethodLike, backward: BackwardLike) -> Tensor:
    spectrum = eigh(cov, method=method, backward=backward or "exact_gaps")
    values, vectors = positive(*spectrum)
    return (values.rsqrt().unsqueeze(-1) * vectors.mT).flip(-2)


def _cholesky(cov: Tensor, method: MethodLike, backward: BackwardLike) -> Tensor:
    if method != "auto" or backward is not None:
        raise UnsupportedError(
            "kind='cholesky' has its own factorisation and exact gradient; leave method='auto' and "
            f"backward=None, got method={method!r}, backward={backward!r}."
        )
    identity = identity_like(cov)
    singular = torch.linalg.cholesky_ex(cov.detach()).info[..., None, None] > 0
    noise = cov.shape[-1] * torch.finfo(cov.dtype).eps * nonzero(trace(cov.detach()))
    # It reads the lower triangle; a tangent is that of the symmetric part.
    factor = cholesky(symmetric(cov) + torch.where(singular, nonzero(noise), 0.0) * identity)
    return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)


def _correlated(
    whitening: Callable[[Tensor, MethodLike, BackwardLike], Tensor],
) -> Callable[[Tensor, MethodLike, BackwardLike], Tensor]:
    """The whitening of the correlation matrix, after standardisation."""

    def matrix(cov: Tensor, method: MethodLike, backward: BackwardLike) -> Tensor:
        correlation, scale = standardized(cov)
        return whitening(correlation, method, backward) * scale[..., None, :]

    return matrix


_KINDS = {
    "zca": _zca,
    "pca": _pca,
    "cholesky": _cholesky,
    "zca_cor": _correlated(_zca),
    "pca_cor": _correlated(_pca),
}
