"""Five matrices that whiten a covariance."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from covlayers.functional._base.checks import check_choice
from covlayers.functional._base.decomposition import Spectrum, positive
from covlayers.functional._base.errors import UnsupportedError
from covlayers.functional._base.linalg import (
    cholesky,
    identity_like,
    rounding_of,
    standardized,
    symmetric,
    trace,
)
from covlayers.functional._base.tensors import check_square, full_precision, symmetrised
from covlayers.functional.backwards._gap_rule import GapRule
from covlayers.functional.backwards.autograd import Autograd
from covlayers.functional.core import Method, SpectralMethod
from covlayers.functional.eigendecomposition import check_spectral, decomposed
from covlayers.functional.functions import INVSQRT
from covlayers.functional.matrix_functions import applied, check_cell
from covlayers.functional.methods.auto import Auto
from covlayers.functional.rule import Backward

MethodLike = str | Method
BackwardLike = str | Backward | None
Whitening = Callable[[Tensor], Tensor]


@full_precision
def whitening_matrix(
    cov: Tensor, *, kind: str = "zca", method: MethodLike = "auto", backward: BackwardLike = None
) -> Tensor:
    r"""A matrix :math:`W` with :math:`W \Sigma W^\top = I`.

    With :math:`\Sigma = U \Lambda U^\top`, its diagonal :math:`V` and its correlation matrix
    :math:`P = V^{-1/2} \Sigma V^{-1/2} = G \Theta G^\top`:

    - ``"zca"``: :math:`W = \Sigma^{-1/2}`, closest to the identity;
    - ``"pca"``: :math:`W = \Lambda^{-1/2} U^\top`, the leading component first, with the
      signs of :func:`eigh`;
    - ``"cholesky"``: :math:`W = L^{-1}` with :math:`\Sigma = L L^\top`, lower triangular with
      positive diagonal;
    - ``"zca_cor"``: :math:`W = P^{-1/2} V^{-1/2}`, closest to standardisation;
    - ``"pca_cor"``: :math:`W = \Theta^{-1/2} G^\top V^{-1/2}`.

    For a singular covariance ``"pca"`` raises the eigenvalues, ``"*_cor"`` the variances and
    ``"cholesky"`` the diagonal above the rounding noise, and ``"zca"`` does as its method does. The
    result is finite, and so is its gradient.

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
    whiten_by = whitening(kind, method, backward)
    return symmetric(cov) if cov.numel() == 0 else whiten_by(symmetrised("cov", cov))


def whitening(kind: str, method: MethodLike, backward: BackwardLike) -> Whitening:
    """The core: a function from symmetric covariances to their whitening matrices.

    Raises:
        InvalidValueError: for an unknown name.
        InvalidTypeError: for an object of another family.
        UnsupportedError: if method or rule do not fit the kind.
    """
    check_choice("kind", kind, tuple(_KINDS))
    return _KINDS[kind](method, backward)


def _zca(method: MethodLike, backward: BackwardLike) -> Whitening:
    # An estimated covariance does not have the digits that refinement restores.
    chosen = Auto(refine=False) if isinstance(method, str) and method == "auto" else method
    return applied(INVSQRT, *check_cell((INVSQRT,), chosen, backward))


def _pca(method: MethodLike, backward: BackwardLike) -> Whitening:
    return partial(_rotated, *check_spectral(method, backward or "exact_gaps"))


def _rotated(method: SpectralMethod, rule: GapRule | Autograd, cov: Tensor) -> Tensor:
    values, vectors, _ = positive(Spectrum(*decomposed(cov, method, rule))).spectrum
    return (values.rsqrt().unsqueeze(-1) * vectors.mT).flip(-2)


def _cholesky(method: MethodLike, backward: BackwardLike) -> Whitening:
    if method != "auto" or backward is not None:
        raise UnsupportedError(
            "kind='cholesky' has its own factorisation and exact gradient; leave method='auto' and "
            f"backward=None, got method={method!r}, backward={backward!r}."
        )
    return _inverse_factor


def _inverse_factor(cov: Tensor) -> Tensor:
    identity = identity_like(cov)
    singular = torch.linalg.cholesky_ex(cov.detach()).info[..., None, None] > 0
    noise = cov.shape[-1] * rounding_of(trace(cov.detach()))
    # Cholesky reads the lower triangle; the gradient belongs to the symmetric part.
    factor = cholesky(symmetric(cov) + torch.where(singular, noise, 0.0) * identity)
    return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False)


def _zca_cor(method: MethodLike, backward: BackwardLike) -> Whitening:
    return partial(after_standardisation, _zca(method, backward))


def _pca_cor(method: MethodLike, backward: BackwardLike) -> Whitening:
    return partial(after_standardisation, _pca(method, backward))


def after_standardisation(of_correlation: Whitening, cov: Tensor) -> Tensor:
    """The core: a matrix of the correlation, for features that are standardised first."""
    correlation, scale = standardized(cov)
    return of_correlation(correlation) * scale[..., None, :]


_KINDS: dict[str, Callable[[MethodLike, BackwardLike], Whitening]] = {
    "zca": _zca,
    "pca": _pca,
    "cholesky": _cholesky,
    "zca_cor": _zca_cor,
    "pca_cor": _pca_cor,
}
